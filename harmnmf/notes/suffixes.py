"""Suffixes of files with notes."""

__all__ = ["EVENT_SUFFIXES", "MIDI_SUFFIXES", "TABLE_SUFFIXES", "WRITTEN_MIDI_SUFFIXES"]

MIDI_SUFFIXES = (".mid", ".midi", ".rmi", ".kar")
WRITTEN_MIDI_SUFFIXES = (".mid", ".midi")
TABLE_SUFFIXES = (".tsv", ".csv", ".txt")
EVENT_SUFFIXES = (".jsonl",)
