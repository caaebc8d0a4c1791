"""Scores and beats from files."""
