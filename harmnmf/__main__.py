"""``python -m harmnmf`` is the command ``harmnmf``."""

from harmnmf.cli.main import run

run()
