"""The part of a recording from which the spectra of its keys are learned."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import Audio
from harmnmf.signal.channels import apply_mix, choose_mix, measure_covariance
from harmnmf.signal.reading import stream_audio

from .framing import Frames, Framing

__all__ = ["Excerpt", "magnitudes", "read_excerpt"]

_BLOCK = 10.0  # seconds
_N_BLOCKS = 18


class Excerpt(NamedTuple):
    """Up to three minutes of a recording, in blocks that are spread over it.

    Parameters
    ----------
    audio : Audio or None
        Mono mix, block after block; None if all notes lie beyond the recording.
    notes : NoteList
        The notes that begin in it, at their times in `audio`.
    V : list of Tensor, shape (n_bins, n_frames)
        Magnitudes of consecutive frames of the blocks.
    frames : list of slice
        Places of each among the frames of the recording.
    n_samples, n_channels : int
        Samples and channels of the recording.
    """

    audio: Audio | None
    notes: NoteList
    V: list[torch.Tensor]
    frames: list[slice]
    n_samples: int
    n_channels: int


def read_excerpt(
    source: Audio | str | PathLike[str],
    notes: NoteList,
    framing: Framing,
    progress: Callable[[float], None] | None = None,
) -> Excerpt:
    """Read a recording once, and keep blocks in which notes begin, evenly spread.

    `progress` is called with the seconds that are read.
    """
    rate = framing.sample_rate
    block_of_note = (notes.onset // _BLOCK).astype(int)
    with_notes = np.unique(block_of_note)
    spread = np.linspace(0, len(with_notes) - 1, min(_N_BLOCKS, len(with_notes)))
    chosen = with_notes[np.rint(spread).astype(int)].tolist()
    audio: list[NDArray[np.float32]] = []
    V: list[torch.Tensor] = []
    places: list[slice] = []
    n_samples = n_frames = 0
    for number, samples in enumerate(stream_audio(source, mono=False, block_duration=_BLOCK)):
        if number == 0:
            stream = Frames(framing, len(samples))
        spectra = stream.push(torch.tensor(samples))
        if number in chosen:
            audio.append(samples.copy())
            V.append(magnitudes(spectra))
            places.append(slice(n_frames, n_frames + spectra.shape[-1]))
        n_frames += spectra.shape[-1]
        n_samples += samples.shape[1]
        if progress is not None:
            progress(n_samples / rate)
    if number in chosen:
        V.append(magnitudes(stream.finish()))
        places.append(slice(n_frames, n_frames + V[-1].shape[-1]))
    return Excerpt(
        _mix(np.concatenate(audio, axis=1), rate) if audio else None,
        _cut(notes, chosen, block_of_note),
        V, places, n_samples, len(samples),
    )  # fmt: skip


def magnitudes(spectra: torch.Tensor) -> torch.Tensor:
    """Root of the mean power over channels: from (n_channels, ...) to (...)."""
    return spectra.abs().square().mean(dim=0).sqrt()


def _mix(samples: NDArray[np.float32], rate: int) -> Audio:
    weights = choose_mix(measure_covariance(samples, rate)) if len(samples) > 1 else None
    return Audio(apply_mix(samples, weights), rate)


def _cut(notes: NoteList, blocks: list[int], block_of_note: NDArray[np.int64]) -> NoteList:
    """Move the notes that begin in some blocks to where they are if the blocks are joined."""
    place = np.searchsorted(blocks, block_of_note)
    is_inside = np.isin(block_of_note, blocks)
    shift = (place[is_inside] - block_of_note[is_inside]) * _BLOCK
    return NoteList(
        notes.onset[is_inside] + shift,
        notes.offset[is_inside] + shift,
        notes.pitch[is_inside],
        notes.velocity[is_inside],
    )
