"""What to type instead of what was typed: for the command and for the API alike. Needs the registry, and neither torch nor Hydra.

spelling.py     words that are no ``key=value``, and characters pasted from a document
options.py      names that are no option of a group
keys.py         keys that no config has: synonyms, the same name elsewhere, the nearest name
values.py       values in a place for one that mean several: 0-9, [0,1,2]
"""
