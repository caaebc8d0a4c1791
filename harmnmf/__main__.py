"""``python -m harmnmf`` runs the command line."""

from harmnmf.cli.main import run

run()
