# Public names, one `from .module import Name as Name` each; enhancement/__init__.py loads them from
# this file when they are first used.
from .comb import comb_matrix as comb_matrix
from .comb import comb_pitch as comb_pitch
from .deep_prior import DeepPrior as DeepPrior
from .enhancer import Enhancer as Enhancer
from .export import export_onnx as export_onnx
from .harmonic_conv.layers import HarmonicConv2d as HarmonicConv2d
from .harmonic_conv.layers import LogHarmonicConv2d as LogHarmonicConv2d
from .harmonic_conv.layers import harmonic_conv2d as harmonic_conv2d
from .harmonic_conv.layers import log_harmonic_conv2d as log_harmonic_conv2d
from .metrics.frame_scores import log_likelihood_ratio as log_likelihood_ratio
from .metrics.frame_scores import segmental_snr as segmental_snr
from .metrics.frame_scores import weighted_spectral_slope as weighted_spectral_slope
from .metrics.scores import composite as composite
from .metrics.scores import evaluate_enhancement as evaluate_enhancement
from .metrics.scores import evaluate_singing as evaluate_singing
from .metrics.scores import si_sdr as si_sdr
from .metrics.scores import stoi as stoi
from .metrics.scores import wb_pesq as wb_pesq
from .mixtures.mixing import Mixture as Mixture
from .mixtures.mixing import MixtureConditions as MixtureConditions
from .mixtures.singing import SingingMixtures as SingingMixtures
from .mixtures.speech import SpeechMixtures as SpeechMixtures
from .mixtures.speech import split_material as split_material
from .models.harmonic_attention import HarmonicAttention as HarmonicAttention
from .models.harmonic_attention import HarmonicAttentionConfig as HarmonicAttentionConfig
from .models.harmonic_light import HarmonicLight as HarmonicLight
from .models.harmonic_light import HarmonicLightConfig as HarmonicLightConfig
from .models.harmonic_refinement import HarmonicRefinement as HarmonicRefinement
from .models.harmonic_refinement import HarmonicRefinementConfig as HarmonicRefinementConfig
from .models.registry import build_model as build_model
from .models.registry import load_model as load_model
from .models.registry import save_model as save_model
from .models.spectrogram_fusion import SpectrogramFusion as SpectrogramFusion
from .models.spectrogram_fusion import SpectrogramFusionConfig as SpectrogramFusionConfig
from .models.spectrum_attention_fusion import SpectrumAttentionFusion as SpectrumAttentionFusion
from .models.spectrum_attention_fusion import (
    SpectrumAttentionFusionConfig as SpectrumAttentionFusionConfig,
)
from .plotting import plot_integration as plot_integration
from .shipped import shipped_models as shipped_models
from .streaming import EnhancementStream as EnhancementStream
from .training import train_enhancement as train_enhancement
from .transform import ShortTimeFourier as ShortTimeFourier
from .transform import Waveform as Waveform
