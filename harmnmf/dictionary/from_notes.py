"""Timbre dictionaries from recordings of isolated notes."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import AudioError, ParameterError
from harmnmf.notes.pitch_names import pitch_from_name, pitch_name
from harmnmf.signal.audio import Audio
from harmnmf.signal.front_end import FrontEnd
from harmnmf.signal.harmonics import PIANO_PITCHES
from harmnmf.signal.spectrogram import LogFrequency
from harmnmf.validation import check_flag, check_integer

from .isolated_notes import EmptyNoteError, IsolatedNote, read_note
from .keys import DECAY, FLOOR, SUSTAIN, fill_keys, scale_timbres
from .names import check_names
from .timbre_dictionary import TimbreDictionary, with_tuning
from .tuning import IN_TUNE

__all__ = ["learn_from_notes"]

_OCTAVE = 12  # semitones


def learn_from_notes(
    instruments: Mapping[str, Sequence[str | PathLike[str]]],
    *,
    front_end: FrontEnd | None = None,
    pitches: Iterable[int] = PIANO_PITCHES,
    n_attack: int = 10,
    fix_names: bool | None = None,
    metadata: Mapping[str, Any] | None = None,
    progress: Callable[[Path], None] | None = None,
) -> TimbreDictionary:
    """Learn a dictionary from isolated notes of one or more instruments.

    Notes of one key, such as soft and loud ones, are scaled to the same level and averaged; keys
    without a note are interpolated from their neighbours, partial by partial; instruments are
    averaged. An instrument that is out of tune is resampled as a whole to A4 = 440 Hz.

    Parameters
    ----------
    instruments : mapping
        Files of isolated notes by the name of their instrument. The pitch is taken from the
        file name (:func:`harmnmf.pitch_from_name`), and compared with the sound.
    front_end : FrontEnd, optional
        Default: :class:`harmnmf.signal.spectrogram.LogFrequency` with its defaults.
    pitches : iterable of int, default=range(21, 109)
        MIDI numbers of the keys of the dictionary.
    n_attack : int, default=10
        Number of frames of the attack.
    fix_names : bool, optional
        What to do if the pitch of a note differs from its file name: use the pitch of the sound
        (True) or of the name (False). Default: raise AudioError.
    metadata : mapping, optional
        Metadata of the dictionary. ``instruments``, the number of notes, the sampled keys and the
        tuning in cents of each, is added.
    progress : callable, optional
        Called with each file before it is read.

    Returns
    -------
    TimbreDictionary
        Dictionary with ``n_attack + 2`` timbres per key: frames of the attack, sustain, decay.

    Raises
    ------
    AudioError
        If a file cannot be read or holds two notes, its name has no pitch or one that differs
        from the sound, or all notes are silent.
    ParameterError
        If there are no notes, no keys or no attack, or a key is not a MIDI number.

    Warns
    -----
    UserWarning
        If notes are learned at another pitch than their names have; if notes are left out, because
        they are silent or shorter than 50 ms; if notes end before their sustain; or if all notes
        are of one key.

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
    keys = sorted(set(pitches))
    for key in keys:
        check_integer("pitches", key, 0, 127)
    if not keys:
        raise ParameterError("pitches must be one or more MIDI numbers")
    check_integer("n_attack", n_attack)
    if fix_names is not None:
        check_flag("fix_names", fix_names)
    names = {
        name: {path: _named_pitch(path, fix=bool(fix_names)) for path in map(Path, files)}
        for name, files in instruments.items()
        if len(files)
    }
    if not names:
        raise ParameterError("a dictionary needs at least one recorded note")
    learned, shifts, sources = [], [], {}
    recorded: set[int] = set()
    for name, named in names.items():
        notes = _read_notes(named, front_end.sample_rate, progress)
        heard = {path: note.heard for path, note in notes.items()}
        keys_of, tuning = check_names(named, heard, fix=fix_names)
        shift = tuning if abs(tuning) > IN_TUNE else 0.0
        layers = defaultdict(list)
        for path, note in notes.items():
            layers[keys_of[path]].append(_note_timbres(note, shift, front_end, n_attack))
        sampled = {pitch: np.mean(layers[pitch], axis=0) for pitch in sorted(layers)}
        recorded |= sampled.keys()
        learned.append(fill_keys(sampled, keys, front_end.axis))
        shifts.append(shift)
        sources[name] = {"notes": len(notes), "keys": list(sampled), "tuning": round(100 * tuning)}
    if len(recorded) == 1 and keys[-1] - keys[0] > _OCTAVE:
        [key] = recorded
        warnings.warn(
            f"{name}: one key, {pitch_name(key)}, is a poor basis for all the others; record a few "
            "keys per octave",
            stacklevel=2,
        )
    W = scale_timbres(np.mean(learned, axis=0), n_attack).astype(np.float32)
    lead = front_end.hop_length / front_end.sample_rate
    about = {**(metadata or {}), "instruments": sources}
    dictionary = TimbreDictionary(W, np.array(keys), front_end, n_attack, lead, about)
    return with_tuning(dictionary, overall=float(np.mean(shifts)))


def _named_pitch(path: Path, *, fix: bool) -> int | None:
    """Pitch in a file name; None if there is none and it is going to be heard."""
    try:
        return pitch_from_name(path)
    except AudioError as error:
        if fix:
            return None
        raise AudioError(f"{error}, or pass --fix-names (fix_names=True)") from error


def _read_notes(
    paths: Iterable[Path], sample_rate: int, progress: Callable[[Path], None] | None
) -> dict[Path, IsolatedNote]:
    """Read the notes of an instrument; warn of those that are empty or short."""
    notes: dict[Path, IsolatedNote] = {}
    empty: list[EmptyNoteError] = []
    for path in paths:
        if progress is not None:
            progress(path)
        try:
            notes[path] = read_note(path, sample_rate)
        except EmptyNoteError as error:
            empty.append(error)
    if not notes:
        raise empty[0]
    if empty:
        n_all = len(empty) + len(notes)
        warnings.warn(f"left out {len(empty)} of {n_all} notes: {empty[0]}", stacklevel=3)
    short = [path for path, note in notes.items() if note.duration < SUSTAIN[0]]
    if short:
        path = min(short, key=lambda path: notes[path].duration)
        message = f"{path}: lasts only {notes[path].duration:.2f} s, and its sustain is not heard"
        if len(short) > 1:
            message += f", nor that of {len(short) - 1} more"
        warnings.warn(f"{message}; record notes for {DECAY[1]} s", stacklevel=3)
    return notes


def _note_timbres(
    note: IsolatedNote, tuning: float, front_end: FrontEnd, n_attack: int
) -> NDArray[np.float64]:
    """Average the spectrogram of a note into timbres, shape (n_bins, n_attack + 2).

    A note of a piano that is sharp by `tuning` semitones is resampled to a higher rate, and
    analysed as if it had the front end's.
    """
    rate, hop = front_end.sample_rate, front_end.hop_length
    samples, attack = note.samples, note.attack
    if tuning:
        tuned = round(rate * 2 ** (tuning / 12))
        samples, attack = Audio(samples, rate).resample(tuned).samples, round(attack * tuned / rate)
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
