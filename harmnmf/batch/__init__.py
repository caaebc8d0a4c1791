"""Batch processing of recordings: serial, in processes or on a cluster, with a manifest."""
