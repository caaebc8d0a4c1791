"""Solvers: pure functions on tensors, one algorithm a file."""
