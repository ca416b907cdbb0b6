"""A kernel in C, in which a run is a lane of a vector, and how it is built."""
