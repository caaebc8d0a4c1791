"""Measures of scores and beats."""
