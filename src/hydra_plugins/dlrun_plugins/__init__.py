"""Hydra finds this package by its name. It holds thin shims; what they do is written in dlrun.

Every Hydra application of the environment imports it, so it must be light.
"""
