"""From composed jobs to cohorts: specs, folds, which runs train as one matrix, what they need, and how they are cut to that."""
