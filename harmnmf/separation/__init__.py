"""Separation of recordings into the sounds of their notes, with the notes known."""
