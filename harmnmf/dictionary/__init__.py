"""Timbre dictionaries: what the keys of a piano sound like."""
