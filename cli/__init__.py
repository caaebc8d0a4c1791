"""The command ``harmnmf``: one file a command; each parses, calls and reports."""
