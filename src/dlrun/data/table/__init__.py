"""A user's table: from the bytes of a file to typed columns and a target."""
