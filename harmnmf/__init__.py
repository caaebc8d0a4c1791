"""Transcribe recordings to notes by harmonic non-negative matrix factorisation.

The public names stand in ``__init__.pyi``, for type checkers and for the lazy loader alike:
a module is imported when one of its names is first used, so that ``import harmnmf`` is quick
and does not load PyTorch.

Examples
--------
>>> import numpy as np
>>> import harmnmf
>>> harmnmf.Audio(np.zeros(22050), sample_rate=22050).duration
1.0
"""

from pathlib import Path

import lazy_loader

__version__ = "0.1.0"

# In a checkout, `harmnmf.enhancement` and `harmnmf.cli` are the folders beside this one; an
# installed harmnmf has them inside (package_dir in setup.cfg).
_root = Path(__file__).resolve().parent.parent
if (_root / "setup.cfg").is_file() and (_root / "enhancement").is_dir():
    __path__.append(str(_root))
del _root

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
