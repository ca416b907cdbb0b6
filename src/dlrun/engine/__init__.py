"""Training many runs as one matrix: layout, layers, random keys, the trainer."""

import os

# A run's bits must not depend on where in memory its row begins. MKL reads this before its first product, and it costs nothing.
os.environ.setdefault("MKL_CBWR", "AUTO")
