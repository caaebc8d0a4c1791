"""Timbre dictionaries: spectra of the keys of a piano."""
