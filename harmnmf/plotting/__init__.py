"""Figures of spectrograms, activations, dictionaries and notes."""
