"""Who trains cohorts: this process, or workers."""
