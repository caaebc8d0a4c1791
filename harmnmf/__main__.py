"""``python -m harmnmf`` runs the command line."""

from harmnmf.cli.main import main

main(prog_name="harmnmf")
