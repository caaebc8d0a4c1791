# The public names, one `from .module import Name as Name` each: enhancement/__init__.py loads
# them lazily from this file.
from .deep_prior import DeepPrior as DeepPrior
from .harmonic_conv import HarmonicConv2d as HarmonicConv2d
from .harmonic_conv import LogHarmonicConv2d as LogHarmonicConv2d
from .harmonic_conv import harmonic_conv2d as harmonic_conv2d
from .harmonic_conv import log_harmonic_conv2d as log_harmonic_conv2d
