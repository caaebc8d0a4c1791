"""Many recordings: here, on processes or on a cluster, remembered in a manifest."""
