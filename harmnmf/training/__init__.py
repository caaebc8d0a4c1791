"""Training loop and checkpoints of neural networks."""
