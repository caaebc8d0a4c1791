"""Audio, spectrograms, and where the partials of a harmonic sound lie."""
