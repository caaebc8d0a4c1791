"""Separation of a recording into parts: the sounds of groups of its notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import Audio
from harmnmf.signal.reading import read_audio

__all__ = ["RESIDUAL", "PreparedSeparation", "Separator", "separate"]

# Name of what belongs to no group: noise of hammers, pedal and room, and other notes.
RESIDUAL = "residual"

Groups = Mapping[str, ArrayLike]


class Separator:
    def __init__(
        self,
        dictionary: TimbreDictionary | str | PathLike[str] = "default",
        *,
        adapt: bool = True,
        block_duration: float = 20.0,
        device: str = "auto",
    ) -> None:
        self.adapt = adapt

    def prepare(
        self,
        source: Audio | str | PathLike[str],
        notes: NoteList,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> PreparedSeparation:
        return PreparedSeparation(source, notes)


class PreparedSeparation:
    """A recording, its notes and the model of their sounds, from :meth:`Separator.prepare`."""

    def __init__(self, source: Audio | str | PathLike[str], notes: NoteList) -> None:
        self.source = source
        self.notes = notes

    def parts(
        self, groups: Groups, *, progress: Callable[[float], None] | None = None
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Yield blocks of all parts and of the residual, each (n_channels, n_samples)."""
        audio = read_audio(self.source, mono=False)
        share = np.float32(1 / (len(groups) + 1))
        yield {name: share * np.atleast_2d(audio.samples) for name in [*groups, RESIDUAL]}

    def note(self, index: int) -> tuple[float, Audio]:
        """Return the time in seconds at which the sound of a note begins, and the sound."""
        audio = read_audio(self.source, mono=False)
        onset, offset = (round(t * audio.sample_rate) for t in self.notes.intervals[index])
        return float(self.notes.onset[index]), Audio(
            audio.samples[..., onset:offset], audio.sample_rate
        )


def separate(
    audio: Audio | str | PathLike[str],
    notes: NoteList,
    groups: Groups,
    *,
    dictionary: TimbreDictionary | str | PathLike[str] = "default",
    adapt: bool = True,
    device: str = "auto",
) -> dict[str, Audio]:
    separation = Separator(dictionary, adapt=adapt, device=device).prepare(audio, notes)
    blocks = list(separation.parts(groups))
    rate = read_audio(audio).sample_rate
    return {
        name: Audio(np.concatenate([block[name] for block in blocks], axis=1), rate)
        for name in blocks[0]
    }
