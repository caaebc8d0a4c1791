"""Speech and music enhancement.

Public names are imported when they are first used: importing the package does not load PyTorch.

Examples
--------
>>> import numpy as np
>>> from harmnmf.enhancement import Enhancer
>>> enhance = Enhancer.load("harmonic-light", device="cpu")
>>> noisy = np.random.default_rng(0).normal(0, 0.1, 16000)
>>> enhance(noisy, sample_rate=16000).shape
(16000,)
"""

import lazy_loader

if __name__ != "harmnmf.enhancement":
    raise ImportError("import it as harmnmf.enhancement")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
