"""Speech and music enhancement on the signal floor of harmnmf.

The public names are imported when they are first used, so that PyTorch is not loaded before.

Examples
--------
>>> from harmnmf.enhancement import HarmonicConv2d
>>> HarmonicConv2d(2, 35, kernel_size=3, padding=1, anchor=3)
HarmonicConv2d(2, 35, kernel_size=(3, 3), stride=(1, 1), padding=(0, 1), anchor=3)
"""

import lazy_loader

if __name__ != "harmnmf.enhancement":
    raise ImportError("import it as harmnmf.enhancement")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
