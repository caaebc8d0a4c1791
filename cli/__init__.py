"""The command ``harmnmf``: one file a command; each parses, calls and reports."""

if __name__ != "harmnmf.cli":
    raise ImportError("import it as harmnmf.cli")
