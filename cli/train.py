"""`harmnmf train`: neural networks from audio and MIDI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from harmnmf.cli._support.note_training import (
    NoteTraining,
    f_measure,
    note_training_options,
    train_on_performances,
)

from .train_beats import command as beats_command
from .train_enhancement import MODELS, model_command
from .train_hands import command as hands_command
from .train_live import command as live_command
from .train_metre import command as metre_command
from .train_spelling import command as spelling_command

if TYPE_CHECKING:
    from torch import nn

    from harmnmf.decoder.excerpts import NoteExcerpt


@click.group()
def command() -> None:
    """Train the neural networks.

    Run the same command again to resume an interrupted training, or with more --steps to continue.
    With other data or settings, give --restart or another folder.
    """


@command.command()
@note_training_options(excerpts=2600, steps=4900)
def notes(**options: Any) -> None:
    """Train the note decoder of `harmnmf transcribe`.

    The performances are rendered with samples of the pianos in simulated rooms, some with other
    sounds in the background, and factorised (one second per excerpt and core). Then the network is
    trained (half a second per step on two cores that compute in bfloat16).

    \b
    Example:
      harmnmf train notes --pianos pianos/ --performances midi/ -o run/
      harmnmf transcribe song.wav --decoder run/network.safetensors
    """  # noqa: D301 (click needs the backspace itself)
    import torch

    from harmnmf.decoder.network import NoteNetwork

    training = NoteTraining(**options)
    torch.manual_seed(training.seed)
    train_on_performances(NoteNetwork(metadata=training.metadata), training, _score)


def _score(network: nn.Module, excerpt: NoteExcerpt) -> dict[str, float]:
    from harmnmf.decoder.network import NoteNetwork

    assert isinstance(network, NoteNetwork)
    return {"f_measure": f_measure(network.probabilities(excerpt.features), excerpt)}


command.add_command(live_command)
command.add_command(beats_command)
command.add_command(metre_command)
command.add_command(spelling_command)
command.add_command(hands_command)
for _name in MODELS:
    command.add_command(model_command(_name))
