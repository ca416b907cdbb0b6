"""From a config to runs, from runs to cohorts, from cohorts to results."""
