"""From the long table of runs to groups, intervals, tests and verdicts."""
