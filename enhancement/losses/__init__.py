"""Losses for training enhancement models."""
