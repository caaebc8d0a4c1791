"""Weights of a causal network from those of one that knows the future."""

from __future__ import annotations

import torch

from harmnmf.errors import ParameterError

from .causal_network import CausalNetwork
from .network import NoteNetwork

__all__ = ["transfer_weights"]

# Of a head's layer on the trunk's frames, the random weights are kept to this part.
_NOISE = 0.1
# What both networks must have in common.
_ARCHITECTURE = ("n_channels", "n_partials", "time_dilations", "key_dilations")


def transfer_weights(source: NoteNetwork, target: CausalNetwork) -> None:
    """Begin the training of a causal network with the weights of another network.

    Where the other looks at later frames, the causal one looks at the present instead, unless it
    waits for them. Its heads begin with the frame that the trunk is centred on.

    Parameters
    ----------
    source : NoteNetwork
        Trained network, with the same channels, partials and blocks.
    target : CausalNetwork
        Network whose weights are replaced.

    Raises
    ------
    ParameterError
        If the source has another architecture, or its input other keys or timbres.

    Examples
    --------
    >>> network = CausalNetwork()
    >>> transfer_weights(NoteNetwork.load("learned"), network)
    """
    if (
        any(getattr(source.config, x) != getattr(target.config, x) for x in _ARCHITECTURE)
        or not source.config.activations
        or source.settings.pitches != target.settings.pitches
        or source.settings.n_rows != target.settings.n_rows
    ):
        raise ParameterError(
            "to begin with, a network must have the same channels, partials, blocks, keys and "
            "activations as the causal one"
        )
    old, new = source.state_dict(), target.state_dict()
    for name in new:
        if name.startswith(("stem_norm.", "blocks.")):
            new[name] = old[name]
    for i, dilation in enumerate(target.config.time_dilations):
        if dilation > target.config.centred_up_to:
            before, now, after = old[f"blocks.{i}.time.weight"].unbind(dim=-1)
            taps = torch.stack([torch.zeros_like(before), before, now + after], dim=-1)
            new[f"blocks.{i}.time.weight"] = taps
    # Activations of several ages share the weights that those of a frame had.
    n_rows = source.settings.n_rows
    spectra, rows = old["stem.weight"][:, :-n_rows], old["stem.weight"][:, -n_rows:]
    n_ages = target.settings.n_inputs // n_rows
    new["stem.weight"] = torch.cat([spectra, *[rows / n_ages] * n_ages], dim=1)
    n_channels = target.config.n_channels
    for i in range(len(target.config.delays)):
        hidden = _NOISE * new[f"heads.{i}.hidden.weight"]
        hidden[:, :n_channels, 0, 0] += torch.eye(n_channels)
        new[f"heads.{i}.hidden.weight"] = hidden
        new[f"heads.{i}.hidden.bias"] = torch.zeros(n_channels)
        for kind in ("weight", "bias"):
            new[f"heads.{i}.notes.{kind}"] = old[f"head.{kind}"]
        new[f"heads.{i}.pedal.weight"] = old["pedal.weight"].sum(dim=-1, keepdim=True)
        new[f"heads.{i}.pedal.bias"] = old["pedal.bias"]
    target.load_state_dict(new)
