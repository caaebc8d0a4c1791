"""Benchmarks, one file per question, each of which prints Markdown tables."""
