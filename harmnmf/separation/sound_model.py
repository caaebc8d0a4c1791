"""Model of the sounds of a recording's notes: spectra of keys, and activations of notes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from .factorization import ScoreActivations, noise_bands
from .framing import Framing
from .sounding import NO_NOTE, SoundingNotes

__all__ = ["SoundModel", "join_activations"]

# Power that belongs to no note, so that masks are defined in silence.
_LEAST_POWER = 1e-30


@dataclass(frozen=True, eq=False)
class SoundModel:
    """Spectra of the keys of a recording, and the activations of its notes and of noise.

    Parameters
    ----------
    W : ndarray, shape (n_bins, n_pitches, n_timbres)
        Spectra of the pitches of `sounding`.
    H : ndarray, shape (n_timbres, n_note_frames)
        Activations of the notes, one note after the other, each in the frames of its span.
    G : ndarray, shape (n_bands, n_frames)
        Activations of the noise.
    sounding : SoundingNotes
        The notes.
    framing : Framing
        Frames of the recording.
    """

    W: NDArray[np.float32]
    H: NDArray[np.float32]
    G: NDArray[np.float32]
    sounding: SoundingNotes
    framing: Framing

    @property
    def n_frames(self) -> int:
        """Number of frames of the recording."""
        return self.G.shape[1]

    @cached_property
    def _noise(self) -> torch.Tensor:
        return noise_bands(self.framing.axis)

    def masks(self, frames: slice, group: NDArray[np.int64], n_groups: int) -> torch.Tensor:
        """Compute Wiener masks: the share of groups of notes in the power of the model.

        The powers of notes and noise add up, so that the mask of a group is the sum of those of
        its notes.

        Parameters
        ----------
        frames : slice
            Frames, from the first to the one after the last.
        group : ndarray of int, shape (n_notes,)
            Group of each note, from 0 to ``n_groups - 1``, or -1 for none.
        n_groups : int
            Number of groups.

        Returns
        -------
        Tensor, shape (n_groups, n_bins, n_frames)
            Shares from 0 to 1; what is missing from 1 belongs to noise and other notes.
        """
        note = self.sounding.note_of_key(frames)
        masks = torch.zeros(n_groups, len(self.W), frames.stop - frames.start)
        total = (self._noise @ torch.from_numpy(self.G[:, frames])).square_().add_(_LEAST_POWER)
        for key in np.flatnonzero((note != NO_NOTE).any(axis=1)).tolist():
            power = (
                torch.from_numpy(self.W[:, key]) @ self._activations(note[key], frames)
            ).square_()
            total += power
            groups = np.where(note[key] == NO_NOTE, -1, group[note[key]])
            for index in np.unique(groups[groups >= 0]).tolist():
                masks[index] += power * torch.from_numpy(groups == index)
        return masks.div_(total)

    def _activations(self, note: NDArray[np.int64], frames: slice) -> torch.Tensor:
        """Activations of a key whose notes in some frames are given, (n_timbres, n_frames)."""
        H = np.zeros((len(self.H), len(note)), np.float32)
        is_played = note != NO_NOTE
        H[:, is_played] = self.H[:, self.sounding.place(note, frames)[is_played]]
        return torch.from_numpy(H)


def join_activations(
    blocks: Iterable[tuple[slice, ScoreActivations]], sounding: SoundingNotes, n_timbres: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Join activations of consecutive frames to those of notes, H and G of the model."""
    H = np.zeros((n_timbres, sounding.n_note_frames), np.float32)
    noise = []
    for frames, activations in blocks:
        note = sounding.note_of_key(frames)
        is_played = note != NO_NOTE
        place = sounding.place(note, frames)
        H[:, place[is_played]] = activations.H.numpy().swapaxes(0, 1)[:, is_played]
        noise.append(activations.G.numpy())
    return H, np.concatenate(noise, axis=1)
