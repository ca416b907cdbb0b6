"""What can be selected: activations, losses, optimizers, schedules, regularizers, metrics, initializers."""
