"""dlrun trains every combination of components at once, and says which is better and how sure one can be."""

__version__ = "0.1.0"
