"""`harmnmf train live`: the network that detects notes while they are played."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from harmnmf.cli._support.note_training import (
    NoteTraining,
    f_measure,
    note_training_options,
    train_on_performances,
)
from harmnmf.errors import ParameterError

if TYPE_CHECKING:
    from torch import nn

    from harmnmf.decoder.excerpts import NoteExcerpt

_LEARNING_RATE = 1.5e-3
# The default of `harmnmf listen`, in seconds.
_LOOK_AHEAD = 0.2
# Seconds before the last known frame: an onset there may be detected on one side of it, and have
# been on the other.
_MARGIN = 0.1


@click.command("live")
@click.option(
    "--start",
    default="learned",
    metavar="NAME|FILE",
    help="Network to begin with: learned, or a file of `harmnmf train notes`.",
)
@note_training_options(excerpts=600, steps=1500)
def command(start: str, **options: Any) -> None:
    """Train the network of `harmnmf listen`.

    The performances are rendered as for `harmnmf train notes`, and analysed as streams are, whose
    future is not known (some seconds per excerpt and core). Then the network is trained, for all
    look-aheads at once (some seconds per step). It begins with the weights of a network
    for recordings, so that it needs less material than that one.

    \b
    Example:
      harmnmf train live --pianos pianos/ --performances midi/ -o run/
      harmnmf listen --network run/network.safetensors
    """  # noqa: D301 (click needs the backspace itself)
    from zlib import crc32

    import torch

    from harmnmf.decoder.causal_network import CausalNetwork
    from harmnmf.decoder.network import NoteNetwork, shipped_networks
    from harmnmf.decoder.weight_transfer import transfer_weights
    from harmnmf.storage.shipped import find_file

    training = NoteTraining(**options)
    path = find_file(start, shipped_networks(), "network")
    initial = NoteNetwork.load(path)
    torch.manual_seed(training.seed)
    network = CausalNetwork(
        metadata={**training.metadata, "start": initial.metadata.get("name", path.stem)}
    )
    try:
        transfer_weights(initial, network)
    except ParameterError as error:
        raise ParameterError(f"{start}: {error}; choose another --start") from error
    train_on_performances(
        network,
        training,
        _score,
        settings={"start": f"{path.name}, checksum {crc32(path.read_bytes()):08x}"},
        where=f" at a look-ahead of {1000 * _LOOK_AHEAD:g} ms",
        learning_rate=_LEARNING_RATE,
    )


def _score(network: nn.Module, excerpt: NoteExcerpt) -> dict[str, float]:
    """F-measure at each look-ahead, in seconds, until the last frame that its head knows."""
    import torch

    from harmnmf.decoder.causal_network import CausalNetwork
    from harmnmf.decoder.network import NoteProbabilities

    assert isinstance(network, CausalNetwork)
    levels = (x[None].to(network.height.device) for x in excerpt.settings.tensors(excerpt.features))
    with torch.inference_mode():
        heads = network(*levels)
    scores = {}
    for look_ahead, logits in zip(network.look_aheads, heads, strict=True):
        known = NoteProbabilities(*(torch.sigmoid(x)[0].cpu().numpy() for x in logits))
        end = len(known.pedal) * excerpt.hop_duration - _MARGIN
        scores[f"f_measure_{look_ahead:g}"] = f_measure(known, excerpt, end)
    return {"f_measure": scores[f"f_measure_{_LOOK_AHEAD:g}"], **scores}
