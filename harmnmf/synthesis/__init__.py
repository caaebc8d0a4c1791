"""Sampled pianos, varied performances and simulated recordings."""
