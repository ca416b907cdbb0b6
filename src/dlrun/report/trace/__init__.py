"""Steps of a run with their numbers: as blocks of words and tables, which are written as text or HTML."""
