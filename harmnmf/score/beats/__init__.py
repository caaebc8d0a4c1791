"""Beats and bars of a performance."""
