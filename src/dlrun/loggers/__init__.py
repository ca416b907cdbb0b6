"""Loggers: one file each, named by an option of the group ``logger``. They hear of the events of an experiment."""
