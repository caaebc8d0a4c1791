"""Separation of recordings into the sounds of their notes, given the notes."""
