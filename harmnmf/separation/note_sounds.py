"""The sound of each note of a recording, with a cache on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.errors import AudioError
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import Audio
from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.storage.files import make_folder

from .framing import Framing
from .prepared import PreparedSeparation
from .separator import Separator
from .sound_model import SoundModel
from .sounding import SoundingNotes

__all__ = ["NoteSounds"]

_KIND = "note-sounds"
_VERSION = 1  # of the analysis: an older one is done again


class NoteSounds:
    """The sounds of the single notes of a piano recording.

    A sequence with the sound of each note, separated from the recording. The whole recording is
    analysed first; then a note takes some milliseconds.

    Parameters
    ----------
    audio : Audio, str or path-like
        The recording, with any sample rate and channels. A file is read again for each note.
    notes : NoteList
        Its notes.
    cache : str or path-like, optional
        File that keeps the analysis, some megabytes for an hour. If it exists and is of the same
        recording, notes and parameters, it is read; if of others, it is replaced.
    dictionary, adapt, device
        As in :class:`harmnmf.separation.separator.Separator`.
    progress : callable, optional
        Called with the seconds of audio that are analysed.

    Raises
    ------
    HarmnmfError
        As :class:`Separator` and its methods raise, or (FormatError) if `cache` is a file of
        another kind.

    Examples
    --------
    >>> t = np.arange(16000) / 16000
    >>> tones = [np.exp(-3 * t) * np.sin(2 * np.pi * hz * t) for hz in (220, 330)]
    >>> notes = NoteList([0.1, 0.1], [0.9, 0.9], [57, 64], [80, 80])
    >>> sounds = NoteSounds(Audio(np.pad(0.2 * sum(tones), (1600, 0)), 16000), notes)
    >>> len(sounds), int(np.abs(np.fft.rfft(sounds[1].samples, 16000)).argmax())
    (2, 330)
    """

    def __init__(
        self,
        audio: Audio | str | PathLike[str],
        notes: NoteList,
        *,
        cache: str | PathLike[str] | None = None,
        dictionary: TimbreDictionary | str | PathLike[str] = "default",
        adapt: bool = True,
        device: str = "auto",
        progress: Callable[[float], None] | None = None,
    ) -> None:
        separator = Separator(dictionary, adapt=adapt, device=device)
        if cache is None:
            self._separation = separator.prepare(audio, notes, progress=progress)
            return
        of = _describe(audio, notes, separator)
        separation = _load(cache, audio, notes, of) if Path(cache).exists() else None
        if separation is None:
            make_folder(Path(cache).parent)  # an error here does not waste the analysis
            separation = separator.prepare(audio, notes, progress=progress)
            _save(cache, separation, of)
        self._separation = separation

    def __len__(self) -> int:
        return len(self._separation.notes)

    def __getitem__(self, index: int) -> Audio:
        """Return the sound of a note; :meth:`with_start` also tells when it begins."""
        return self.with_start(index)[1]

    def with_start(self, index: int) -> tuple[float, Audio]:
        """Return the seconds at which the sound of a note begins, before its onset; and the sound.

        Raises
        ------
        IndexError
            If there is no such note.
        """
        return self._separation.note(range(len(self))[index])


def _describe(
    audio: Audio | str | PathLike[str], notes: NoteList, separator: Separator
) -> dict[str, Any]:
    """Describe all that an analysis depends on, in JSON data."""
    if isinstance(audio, Audio):
        recording = [_hash(audio.samples), list(audio.samples.shape), audio.sample_rate]
    else:
        try:
            status = os.stat(audio)
        except OSError as error:
            raise AudioError(f"{audio}: cannot be read ({error.strerror})") from error
        recording = [os.path.abspath(audio), status.st_size, status.st_mtime_ns]
    dictionary = separator.dictionary
    return {
        "version": _VERSION,
        "recording": recording,
        "notes": _hash(notes.onset, notes.offset, notes.pitch, notes.pedal),
        "dictionary": _hash(dictionary.W, dictionary.pitches, np.asarray(dictionary.tuning)),
        "front_end": dictionary.front_end.to_dict(),
        "n_attack": dictionary.n_attack,
        "adapt": separator.adapt,
    }


def _hash(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def _save(path: str | PathLike[str], separation: PreparedSeparation, of: dict[str, Any]) -> None:
    model = separation.model
    save_arrays(
        path,
        {"W": model.W, "H": model.H, "G": model.G},
        {
            "kind": _KIND,
            "of": of,
            "offset": model.sounding.offset,
            "sample_rate": separation.sample_rate,
            "n_samples": separation.n_samples,
            "n_channels": separation.n_channels,
        },
    )


def _load(
    path: str | PathLike[str],
    audio: Audio | str | PathLike[str],
    notes: NoteList,
    of: dict[str, Any],
) -> PreparedSeparation | None:
    """Read what `_save` wrote; None if it is of something else."""
    arrays, about = load_arrays(path, kind=_KIND)
    if about["of"] != of:
        return None
    framing = Framing(about["sample_rate"])
    n_frames = framing.n_frames(about["n_samples"])
    sounding = SoundingNotes(notes, framing, n_frames, about["offset"])
    model = SoundModel(arrays["W"], arrays["H"], arrays["G"], sounding, framing)
    return PreparedSeparation(audio, notes, model, about["n_samples"], about["n_channels"])
