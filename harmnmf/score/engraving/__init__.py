"""Scores as sheet music, MIDI and JSON."""
