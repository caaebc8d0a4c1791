"""Timbre dictionaries from recordings of isolated notes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import AudioError, ParameterError
from harmnmf.notes.pitch_names import pitch_from_name
from harmnmf.signal.audio import read_audio
from harmnmf.signal.harmonics import PIANO_PITCHES
from harmnmf.signal.spectrogram import FrontEnd, LogFrequency
from harmnmf.validation import check_integer

from .keys import DECAY, FLOOR, SILENCE, SUSTAIN, fill_keys, scale_timbres
from .timbre_dictionary import TimbreDictionary

__all__ = ["find_attack", "learn_from_notes"]

# The attack begins where the magnitude first comes within this many dB of its maximum.
_ATTACK_THRESHOLD = -20.0


def learn_from_notes(
    instruments: Mapping[str, Sequence[str | PathLike[str]]],
    *,
    front_end: FrontEnd | None = None,
    pitches: Iterable[int] = PIANO_PITCHES,
    n_attack: int = 10,
    metadata: Mapping[str, Any] | None = None,
    progress: Callable[[Path], None] | None = None,
) -> TimbreDictionary:
    """Learn a dictionary from isolated notes of one or more instruments.

    Notes of one key, such as soft and loud ones, are scaled to the same level and averaged; keys
    without a note are interpolated from their neighbours, partial by partial; instruments are
    averaged.

    Parameters
    ----------
    instruments : mapping
        Files of isolated notes by the name of their instrument. The pitch is taken from the
        file name (:func:`harmnmf.pitch_from_name`).
    front_end : FrontEnd, optional
        Default: :class:`harmnmf.signal.spectrogram.LogFrequency` with its defaults.
    pitches : iterable of int, default=range(21, 109)
        MIDI numbers of the keys of the dictionary.
    n_attack : int, default=10
        Number of frames of the attack.
    metadata : mapping, optional
        Metadata of the dictionary. ``instruments``, the number of notes and the sampled keys of
        each, is added.
    progress : callable, optional
        Called with each file before it is read.

    Returns
    -------
    TimbreDictionary
        Dictionary with ``n_attack + 2`` timbres per key: frames of the attack, sustain, decay.

    Raises
    ------
    AudioError
        If a file cannot be read, is silent, or has no pitch in its name.
    ParameterError
        If there are no notes, no keys or no attack, or a key is not a MIDI number.

    Examples
    --------
    >>> import tempfile
    >>> from harmnmf import Audio, write_audio
    >>> t = np.arange(16000) / 16000
    >>> tone = np.exp(-3 * t) * sum(np.sin(2 * np.pi * 220 * h * t) / h for h in range(1, 9))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_audio(f"{folder}/A3.wav", Audio(0.2 * tone, 16000))
    ...     dictionary = learn_from_notes({"toy": [f"{folder}/A3.wav"]}, pitches=[56, 57])
    >>> dictionary.axis.to_hz(dictionary.W[:, :, -1].argmax(axis=0)).round()
    array([208., 220.])
    """
    front_end = LogFrequency() if front_end is None else front_end
    for pitch in pitches:
        check_integer("pitches", pitch, 0, 127)
    keys = sorted({int(pitch) for pitch in pitches})
    if not keys:
        raise ParameterError("pitches must be one or more MIDI numbers")
    check_integer("n_attack", n_attack)
    files_by_pitch: dict[str, dict[int, list[Path]]] = {}
    for name, files in instruments.items():
        for path in map(Path, files):
            by_pitch = files_by_pitch.setdefault(name, defaultdict(list))
            by_pitch[pitch_from_name(path)].append(path)
    if not files_by_pitch:
        raise ParameterError("a dictionary needs at least one recorded note")
    learned, sources = [], {}
    for name, by_pitch in files_by_pitch.items():
        sampled = {}
        for pitch, paths in sorted(by_pitch.items()):
            notes = []
            for path in paths:
                if progress is not None:
                    progress(path)
                notes.append(_note_timbres(path, front_end, n_attack))
            sampled[pitch] = np.mean(notes, axis=0)
        learned.append(fill_keys(sampled, keys, front_end.axis))
        sources[name] = {"notes": sum(map(len, by_pitch.values())), "keys": list(sampled)}
    W = scale_timbres(np.mean(learned, axis=0), n_attack).astype(np.float32)
    lead = front_end.hop_length / front_end.sample_rate
    about = {**(metadata or {}), "instruments": sources}
    return TimbreDictionary(W, np.array(keys), front_end, n_attack, lead, about)


def find_attack(samples: NDArray[np.float32]) -> int:
    """Return the first sample of an isolated note whose magnitude is within 20 dB of the maximum.

    Examples
    --------
    >>> find_attack(np.r_[np.zeros(500), np.ones(500)])
    500
    """
    magnitude = np.abs(samples)
    peak = magnitude.max(initial=0.0)
    if peak < SILENCE:
        raise AudioError("the recording is silent; record the note again, or leave it out")
    return int(np.argmax(magnitude >= peak * 10 ** (_ATTACK_THRESHOLD / 20)))


def _note_timbres(path: Path, front_end: FrontEnd, n_attack: int) -> NDArray[np.float64]:
    """Average the spectrogram of a note into timbres, shape (n_bins, n_attack + 2)."""
    rate, hop = front_end.sample_rate, front_end.hop_length
    samples = read_audio(path, sample_rate=rate).samples
    try:
        attack = find_attack(samples)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
    # The attack is centred on the second frame, so that the first shows the rise before it.
    samples = samples[max(0, attack - hop) :][: int((DECAY[1] + 1) * rate)]
    samples = np.concatenate([np.zeros(max(0, hop - attack), samples.dtype), samples])
    V = front_end.transform(samples).values.astype(np.float64)
    timbres = np.zeros((V.shape[0], n_attack + 2))
    n_frames = min(n_attack, V.shape[1])
    timbres[:, :n_frames] = V[:, :n_frames]
    level = V.sum(axis=0)
    n_sounding = int(np.flatnonzero(level >= FLOOR * level.max())[-1]) + 1
    for j, (start, end) in enumerate((SUSTAIN, DECAY)):
        first, last = (1 + round(time * rate / hop) for time in (start, end))
        # A shorter note, or one followed by silence, keeps its last spectrum.
        part = V[:, min(first, n_sounding - 1) : min(last, n_sounding)]
        timbres[:, n_attack + j] = part.mean(axis=1)
    return scale_timbres(timbres, n_attack)
