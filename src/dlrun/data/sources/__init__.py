"""Where data comes from: one function for each dataset, its keyword-only parameters being its hyperparameters."""
