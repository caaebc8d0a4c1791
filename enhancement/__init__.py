"""Speech and music enhancement on the signal floor of harmnmf."""
