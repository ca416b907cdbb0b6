"""Delimited text: opened, told from other files, cut into rows and cells, and read into a TableBuilder."""
