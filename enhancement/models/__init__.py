"""Networks that turn noisy complex spectrograms into clean ones; one file per network."""
