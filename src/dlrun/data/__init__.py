"""Datasets: where they come from, how they are split, and what is fitted on their training rows."""
