"""Training of the models of scores."""
