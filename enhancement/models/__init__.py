"""Networks that turn noisy complex spectrograms into clean ones; one system a file."""
