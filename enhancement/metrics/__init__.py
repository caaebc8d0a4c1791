"""Scores of enhanced speech and separated voices."""
