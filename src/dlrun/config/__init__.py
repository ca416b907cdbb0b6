"""Settings: composed, validated, resolved into the run that they describe."""
