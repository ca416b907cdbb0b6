"""What can be done with runs when they have been trained: predict, measure on new rows, export.

run.py        a run: what it measured, how it went, its predictions
ensemble.py   several runs as one: their mean, and how far they are apart
chosen.py     the runs that the words of a command line or of Python mean
named.py      predictions as columns with names
new_rows.py   the rows of a file, for models that were trained on others
"""

from dlrun.trained.ensemble import Ensemble
from dlrun.trained.run import Run

__all__ = ["Ensemble", "Run"]
