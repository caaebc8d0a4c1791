"""Non-negative matrix factorisation V ≈ WH with harmonic templates."""
