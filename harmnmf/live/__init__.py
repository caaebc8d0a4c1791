"""Transcription while the music is played."""
