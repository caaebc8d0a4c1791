"""Benchmarks: one question a file; each prints a Markdown table."""
