"""Parts of a recording whose notes have been analysed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import Audio
from harmnmf.signal.reading import read_audio, stream_audio

from .framing import OverlapAdd, stream_spectra
from .groups import RESIDUAL, Groups, group_of_note
from .sound_model import SoundModel

__all__ = ["PreparedSeparation"]

# Limits of a block: complex numbers in the spectra of all its parts, and frames.
_LARGEST_BLOCK = 2**23
_LONGEST_BLOCK = 320
_READ_DURATION = 10.0  # seconds


class PreparedSeparation:
    """A recording and the model of its sounds, as :class:`harmnmf.Separator` prepares them.

    Parameters
    ----------
    source : Audio, str or path-like
        The recording. A file is read again for each separation.
    notes : NoteList
        The notes.
    model : SoundModel
        Model of their sounds.
    n_samples, n_channels : int
        Samples and channels of the recording.
    """

    def __init__(
        self,
        source: Audio | str | PathLike[str],
        notes: NoteList,
        model: SoundModel,
        n_samples: int,
        n_channels: int,
    ) -> None:
        self.notes = notes
        self.n_samples = n_samples
        self.n_channels = n_channels
        self.sample_rate = model.framing.sample_rate
        self._source = source
        self.model = model

    def parts(
        self, groups: Groups, *, progress: Callable[[float], None] | None = None
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Separate the recording into groups of notes, block by block.

        Parameters
        ----------
        groups : mapping of str to array_like
            Indices of the notes of each group, or a boolean for each note. No note may be in two.
        progress : callable, optional
            Called with the seconds of audio done so far.

        Yields
        ------
        dict of str to ndarray, shape (n_channels, n_samples)
            Consecutive samples of each group and of "residual": noise, and notes of no group. They
            add up to the recording.

        Raises
        ------
        ParameterError
            If an index is out of range, a note is in two groups, or a group is named "residual".
        """
        group = group_of_note(groups, len(self.notes))
        framing = self.model.framing
        names = [*groups, RESIDUAL]
        shape = len(names), self.n_channels
        n_frames = _LARGEST_BLOCK // (len(names) * self.n_channels * framing.axis.n_bins)
        synthesis = OverlapAdd(framing, shape)
        n_done = -framing.n_before
        n_frames = min(max(n_frames, 1), _LONGEST_BLOCK)
        blocks = stream_spectra(self._source, framing, n_frames, progress)
        for frames, spectra in blocks:
            masks = self.model.masks(frames, group, len(groups))
            masks = torch.cat([masks, 1 - masks.sum(dim=0, keepdim=True)])
            samples = synthesis.push(masks[:, None] * spectra).numpy()
            samples = samples[..., max(0, -n_done) : self.n_samples - n_done]
            n_done += (frames.stop - frames.start) * framing.hop_length
            if samples.shape[-1]:
                yield dict(zip(names, samples, strict=True))

    def note(self, index: int) -> tuple[float, Audio]:
        """Separate the sound of one note.

        Parameters
        ----------
        index : int
            Index of the note.

        Returns
        -------
        start : float
            Seconds at which the sound begins in the recording, before its onset.
        sound : Audio
            The sound, with the sample rate and the channels of the recording.
        """
        start, stop = self._samples_of_note(index)
        rate = self.sample_rate
        recorded = read_audio(
            self._source, mono=False, offset=start / rate, duration=(stop - start) / rate
        )
        return start / rate, self._note_in(index, np.atleast_2d(recorded.samples))

    def all_notes(
        self, *, progress: Callable[[float], None] | None = None
    ) -> Iterator[tuple[float, Audio]]:
        """Separate the sound of each note as :meth:`note` does, but read the recording once.

        Parameters
        ----------
        progress : callable, optional
            Called with the seconds of audio done so far.

        Yields
        ------
        start : float
            Seconds at which the sound of a note begins in the recording.
        sound : Audio
            The sound. Notes come in their order.
        """
        blocks = stream_audio(self._source, mono=False, block_duration=_READ_DURATION)
        places = np.array([self._samples_of_note(index) for index in range(len(self.notes))])
        needed = np.minimum.accumulate(places[::-1, 0])[::-1]  # by this and all later notes
        samples = np.empty((self.n_channels, 0), np.float32)
        first = 0  # place of these samples in the recording
        for index, (start, stop) in enumerate(places.tolist()):
            while first + samples.shape[1] < stop:
                samples = np.concatenate([samples, next(blocks)], axis=1)
                n_passed = min(int(needed[index]) - first, samples.shape[1])
                samples, first = samples[:, n_passed:], first + n_passed
            sound = self._note_in(index, samples[:, start - first : stop - first])
            yield start / self.sample_rate, sound
            if progress is not None:
                progress(start / self.sample_rate)

    def _frames_of_note(self, index: int) -> slice:
        first, last = self.model.sounding.spans[index].tolist()
        first = min(first, self.model.n_frames - 1)
        return slice(first, max(last, first + 1))  # of two notes of a key at once, one has frames

    def _samples_of_note(self, index: int) -> tuple[int, int]:
        """First sample of the frames of a note, and the one after the last, in the recording."""
        frames, framing = self._frames_of_note(index), self.model.framing
        start = frames.start * framing.hop_length - framing.n_before
        return max(start, 0), min(frames.stop * framing.hop_length, self.n_samples)

    def _note_in(self, index: int, samples: NDArray[np.float32]) -> Audio:
        """Separate a note in the samples of its frames, (n_channels, n_samples)."""
        frames, framing = self._frames_of_note(index), self.model.framing
        n_before = max(0, framing.n_before - frames.start * framing.hop_length)
        n_frames = frames.stop - frames.start
        n_after = n_frames * framing.hop_length + framing.n_before - n_before - samples.shape[1]
        padded = torch.nn.functional.pad(torch.from_numpy(samples.copy()), (n_before, n_after))
        group = np.full(len(self.notes), -1)
        group[index] = 0
        mask = self.model.masks(frames, group, 1)
        synthesis = OverlapAdd(framing, (self.n_channels,))
        blocks = synthesis.push(mask * framing.spectra(padded)), synthesis.finish()
        sound = torch.cat(blocks, dim=1)[:, n_before:][:, : samples.shape[1]].numpy()
        return Audio(sound if self.n_channels > 1 else sound[0], self.sample_rate)
