"""Note lists, their files and their evaluation."""
