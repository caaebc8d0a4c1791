"""From activations to notes, by a network or by rules."""
