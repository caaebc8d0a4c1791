"""Piano transcription by harmonic non-negative matrix factorisation.

``__init__.pyi`` lists the public names, for type checkers and for the lazy loader: a module is
imported when one of its names is first used, so that ``import harmnmf`` does not load PyTorch.

Examples
--------
>>> import numpy as np
>>> import harmnmf
>>> harmnmf.Audio(np.zeros(22050), sample_rate=22050).duration
1.0
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import lazy_loader

__version__ = "0.1.0"


class _SisterFolders:
    """Import finder for `harmnmf.enhancement` and `harmnmf.cli`, beside harmnmf in a checkout.

    In an installed harmnmf they lie inside it (package_dir in setup.cfg). This finder comes before
    the others, because the installed harmnmf may be that of another checkout.
    """

    names = ("harmnmf.enhancement", "harmnmf.cli")
    root = Path(__file__).resolve().parent.parent

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        init = self.root / name.removeprefix("harmnmf.") / "__init__.py"
        if name not in self.names or not init.is_file():
            return None
        return importlib.util.spec_from_file_location(name, init)


if (_SisterFolders.root / "setup.cfg").is_file():
    sys.meta_path.insert(0, _SisterFolders())


__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
