"""Library models that stand beside the runs in a table."""
