"""``python -m harmnmf`` is the command ``harmnmf``."""

from harmnmf.cli.main import main

main(prog_name="harmnmf")
