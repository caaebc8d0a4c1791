"""A causal network on features that arrive step by step."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .causal_network import CausalNetwork
from .features import NoteFeatures
from .network import NoteProbabilities

__all__ = ["NetworkStream"]


class NetworkStream:
    """Apply a causal network to features that arrive in blocks.

    Parameters
    ----------
    network : CausalNetwork
        Network in evaluation mode.
    """

    def __init__(self, network: CausalNetwork) -> None:
        self.network = network = _without_norms(network)
        self._past = network.empty_past()
        # The trunk's frames that have not been read, and the number of the first.
        n_pitches = len(network.settings.pitches)
        self._trunk = network.height.new_zeros(1, network.config.n_channels, n_pitches, 0)
        self._first = 0

    @torch.inference_mode()
    def push(self, features: NoteFeatures) -> None:
        """Take the features of the next frames."""
        spectrum, onset_spectrum, activations = (
            x[None] for x in self.network.settings.tensors(features)
        )
        trunk, self._past = self.network.trunk(spectrum, onset_spectrum, activations, self._past)
        self._trunk = torch.cat([self._trunk, trunk], dim=-1)

    @torch.inference_mode()
    def read(self, head: int, first: int) -> NoteProbabilities:
        """Estimate all frames from `first` on that a head knows by now.

        Frames before `first` are forgotten: the next call cannot ask for them.
        """
        self._trunk = self._trunk[..., first - self._first :]
        self._first = first
        if self._trunk.shape[-1] <= self.network.config.delays[head]:
            n_pitches = len(self.network.settings.pitches)
            nothing = np.empty((n_pitches, 0), np.float32)
            return NoteProbabilities(nothing, nothing, nothing, nothing, nothing[0])
        logits = self.network.heads[head](self._trunk)
        return NoteProbabilities(*(torch.sigmoid(x)[0].numpy() for x in logits))


def _without_norms(network: CausalNetwork) -> CausalNetwork:
    """Copy a network with its normalisations in the convolutions before them."""
    network = deepcopy(network).eval()
    places: list[tuple[nn.Module, str]] = [(network, "stem")]
    places += [(block, name) for block in network.blocks for name in ("time", "keys")]
    for module, name in places:
        convolution, norm = getattr(module, name), getattr(module, f"{name}_norm")
        setattr(module, name, fuse_conv_bn_eval(convolution, norm))
        setattr(module, f"{name}_norm", nn.Identity())
    return network
