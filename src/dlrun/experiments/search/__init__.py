"""Searching settings: values that a sampler proposes, batch by batch, and that train as cohorts."""
