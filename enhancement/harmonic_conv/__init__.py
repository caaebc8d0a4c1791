"""Harmonic convolution."""
