"""Suffixes of files with notes."""

__all__ = ["EVENT_SUFFIXES", "MIDI_SUFFIXES", "TABLE_SUFFIXES"]

MIDI_SUFFIXES = (".mid", ".midi", ".rmi", ".kar")
TABLE_SUFFIXES = (".tsv", ".csv", ".txt")
EVENT_SUFFIXES = (".jsonl",)
