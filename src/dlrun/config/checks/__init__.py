"""Components of the user's own, called on a few numbers before anything trains."""
