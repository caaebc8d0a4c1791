"""Audio, spectrograms, tuning, and the frequencies of partials."""
