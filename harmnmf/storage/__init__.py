"""Atomic files, files of named arrays, and files that come with the package."""
