"""Training many runs as one matrix: layout, layers, random keys, the trainer."""
