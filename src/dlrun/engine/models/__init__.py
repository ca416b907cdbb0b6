"""What a cohort trains: its model, made of layers or of a user's module, and how the parameters of all runs lie in one matrix."""
