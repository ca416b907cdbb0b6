"""Charts of comparisons, trainings and predictions."""
