"""Mixtures to train on: speech with noise, singing with accompaniment."""
