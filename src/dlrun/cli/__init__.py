"""The command line: one file a verb, and the entry point in main.py. Nothing here imports torch before a job needs it."""
