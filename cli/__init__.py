"""Command line of harmnmf, one module per command."""

if __name__ != "harmnmf.cli":
    raise ImportError("import it as harmnmf.cli")
