"""What is measured of a cohort, from outputs that a way of taking steps hands over as arrays.

evaluation    losses and metrics on a subset
forms         a prediction as probability, log odds and so on, whichever a metric reads
derived       forms that take a fit to training rows: clusters, rankings
thresholds    above which a class is predicted
diagnostics   what goes on inside the models
"""
