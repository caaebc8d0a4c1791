"""Timbre dictionaries from recordings of music and their scores.

A score gives the frames in which each timbre of a key may sound. Activations that start at zero
stay zero, so a factorisation learns the spectra of these timbres [1]_. Its templates are the
spectra of an initial dictionary, divided into bands a third of an octave apart.

References
----------
.. [1] S. Ewert and M. Müller, "Using score-informed constraints for NMF-based source
   separation", ICASSP 2012, pp. 129-132.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf.errors import AudioError, ParameterError
from harmnmf.nmf.estimator import HarmonicNMF
from harmnmf.nmf.solvers.convolutive import raised_cosine_bands
from harmnmf.notes.files import read_notes
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import Audio
from harmnmf.signal.reading import read_audio
from harmnmf.signal.tuning import relative_tuning, transform_in_tune
from harmnmf.validation import check_number

from .alignment import estimate_offset, notes_fit
from .keys import DECAY, SILENCE, fill_keys, scale_timbres
from .timbre_dictionary import TimbreDictionary, with_tuning

__all__ = ["learn_from_score", "timbre_roll"]

# Seconds for which a note may sound after its end: dampers take time, and the notes may lack the
# pedal.
_RELEASE = 1.0
_BAND = 1 / 3  # octaves from one centre to the next
# More iterations fit the recording better and the piano worse: overlapping notes begin to explain
# each other.
_DEFAULTS = {"max_iter": 20, "tol": None}


def learn_from_score(
    recordings: Iterable[tuple[Audio | str | PathLike[str], NoteList | str | PathLike[str]]],
    *,
    dictionary: TimbreDictionary | str | PathLike[str] = "default",
    solver: str = "multiplicative",
    prior_weight: float = 2.0,
    metadata: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> TimbreDictionary:
    """Learn a dictionary of one piano from recordings and their notes [1]_.

    The notes must be aligned with the recording, as those of a Disklavier are, up to one constant
    offset, which is estimated (:func:`estimate_offset`). A recording that is not in tune with the
    dictionary is analysed as if it were, as in :class:`harmnmf.Transcriber`, so that the spectra
    are those of the piano at 440 Hz.

    Parameters
    ----------
    recordings : iterable of pairs
        Recordings or their files, each with its notes or a file for :func:`harmnmf.read_notes`.
    dictionary : TimbreDictionary, str or path-like, default="default"
        Initial dictionary, the name of a shipped one, or a file. Zeros of played keys stay zero.
    solver : {"multiplicative", "bayesian", "decibel"}, default="multiplicative"
        As in :class:`harmnmf.nmf.estimator.HarmonicNMF`.
    prior_weight : float, default=2.0
        Number of notes of a key for which its learned and its initial timbres weigh the same.
    metadata : mapping, optional
        Metadata of the dictionary. The solver, the initial dictionary and ``recordings`` (number
        of notes, keys, offset in seconds and tuning in cents of each) are added.
    progress : callable, optional
        Called with the name of each recording before it is read.
    **options
        Other parameters of :class:`harmnmf.nmf.estimator.HarmonicNMF`, by default 20 iterations.

    Returns
    -------
    TimbreDictionary
        Dictionary with the keys, timbres and front end of the initial one.

    Raises
    ------
    AudioError, FormatError
        If a file cannot be read, or a recording is silent.
    ParameterError
        If there are no recordings or no notes, or notes do not fit their recording or the
        dictionary; or an option is invalid.

    References
    ----------
    .. [1] S. Ewert and M. Müller, "Using score-informed constraints for NMF-based source
       separation", ICASSP 2012, pp. 129-132.

    Examples
    --------
    >>> t = np.arange(32000) / 16000
    >>> tone = np.exp(-3 * t) * sum(np.sin(2 * np.pi * 220 * h * t) / h for h in range(1, 9))
    >>> audio = Audio(np.concatenate([np.zeros(16000), 0.2 * tone]), 16000)
    >>> notes = NoteList(onset=[1.0], offset=[2.5], pitch=[57], velocity=[80])
    >>> dictionary = learn_from_score([(audio, notes)])
    >>> recording = dictionary.metadata["recordings"]["recording 1"]
    >>> recording["keys"], recording["offset"]
    ([57], 0.0)
    """
    if not isinstance(dictionary, TimbreDictionary):
        dictionary = TimbreDictionary.load(dictionary)
    if dictionary.W.shape[2] != dictionary.n_attack + 2:
        raise ParameterError(
            "the dictionary must have two timbres besides the frames of the attack"
        )
    check_number("prior_weight", prior_weight, 0, infinite=True)
    takes, sources = [], {}
    for number, (recording, score) in enumerate(recordings, start=1):
        name = _name(recording, f"recording {number}")
        if progress is not None:
            progress(name)
        take = _read_take(recording, name, score, _name(score, f"notes of {name}"), dictionary)
        takes.append(take)
        # Without folders, which may be private.
        title = Path(name).name
        sources[f"{title} ({number})" if title in sources else title] = {
            "notes": len(take.notes),
            "keys": np.unique(take.notes.pitch).tolist(),
            "offset": round(take.offset, 3),
            "tuning": round(100 * take.tuning),
        }
    if not takes:
        raise ParameterError("a dictionary needs at least one recording")
    V = np.concatenate([take.V for take in takes], axis=1)
    n_notes = Counter(np.concatenate([take.notes.pitch for take in takes]).tolist())
    played = np.array(sorted(n_notes))
    roll = np.concatenate(
        [
            timbre_roll(take.notes, played, take.V.shape[1], take.hop, dictionary.n_attack)
            for take in takes
        ],
        axis=2,
    )
    prior = dictionary.W[:, np.searchsorted(dictionary.pitches, played)].astype(np.float64)
    learned = _factorize(V, roll, prior, dictionary, solver, options)
    keys = {}
    for k, pitch in enumerate(played.tolist()):
        trust = n_notes[pitch] / (n_notes[pitch] + prior_weight)
        keys[pitch] = _mixed(learned[:, k], prior[:, k], trust, dictionary.n_attack)
    missing = [pitch for pitch in dictionary.pitches.tolist() if pitch not in keys]
    if missing:
        keys |= zip(missing, fill_keys(keys, missing, dictionary.axis).swapaxes(0, 1), strict=True)
    W = np.stack([keys[pitch] for pitch in dictionary.pitches.tolist()], axis=1)
    about = {
        key: dictionary.metadata[key] for key in ("name", "about") if key in dictionary.metadata
    }
    learned_dictionary = replace(
        dictionary,
        W=scale_timbres(W, dictionary.n_attack).astype(np.float32),
        metadata={
            **(metadata or {}),
            "recordings": sources,
            "solver": solver,
            "initial dictionary": about,
        },
    )
    overall = np.average([take.tuning for take in takes], weights=[len(t.notes) for t in takes])
    return with_tuning(learned_dictionary, overall=float(overall))


def timbre_roll(
    notes: NoteList,
    pitches: NDArray[np.int64],
    n_frames: int,
    hop_duration: float,
    n_attack: int,
) -> NDArray[np.bool_]:
    """Make a piano roll of the timbres of each key that may sound in each frame.

    A note begins with the frames of its attack, the first of them one frame before its onset. Its
    sustain follows until 0.6 s, then its decay until 1 s after its end, or until the key is
    struck again. `pitches` are ascending and include all that are played; `hop_duration` is in
    seconds. The result has shape (n_pitches, n_attack + 2, n_frames).

    Examples
    --------
    >>> notes = NoteList([0.2], [0.3], [60], [70])
    >>> timbre_roll(notes, np.array([60]), 10, hop_duration=0.1, n_attack=2)[0].astype(int)
    array([[0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
           [0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
           [0, 0, 0, 1, 1, 1, 1, 1, 0, 0],
           [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]])
    """
    roll = np.zeros((len(pitches), n_attack + 2, n_frames), dtype=np.bool_)
    starts = np.rint(notes.onset / hop_duration).astype(int) - 1
    ends = np.rint((notes.offset + _RELEASE) / hop_duration).astype(int)
    for key, start, end in zip(np.searchsorted(pitches, notes.pitch), starts, ends, strict=True):
        roll[key, :, max(start, 0) :] = False
        sustain = start + n_attack
        decay = max(sustain, start + 1 + round(DECAY[0] / hop_duration))
        for j in range(max(0, -start), min(n_attack, n_frames - start)):
            roll[key, j, start + j] = True
        roll[key, n_attack, sustain : min(decay, end)] = True
        roll[key, n_attack + 1, decay:end] = True
    return roll


class _Take(NamedTuple):
    """Spectrogram (n_bins, n_frames) in tune, seconds from frame to frame, and aligned notes.

    `offset` of the notes is in seconds, `tuning` of the recording in semitones.
    """

    V: NDArray[np.float32]
    hop: float
    notes: NoteList
    offset: float
    tuning: float


def _name(source: Any, otherwise: str) -> str:
    return otherwise if isinstance(source, Audio | NoteList) else str(source)


def _read_take(
    recording: Audio | str | PathLike[str],
    name: str,
    score: NoteList | str | PathLike[str],
    score_name: str,
    dictionary: TimbreDictionary,
) -> _Take:
    notes = score if isinstance(score, NoteList) else read_notes(Path(score))
    if len(notes) == 0:
        raise ParameterError(f"{score_name}: has no notes")
    if not np.isin(notes.pitch, dictionary.pitches).all():
        raise ParameterError(f"{score_name}: has notes of keys that the dictionary lacks")
    audio = read_audio(recording)
    if np.abs(audio.samples).max() < SILENCE:
        raise AudioError(f"{name}: the recording is silent")
    last = float(notes.onset[-1])
    if last > audio.duration:
        raise ParameterError(
            f"{score_name}: a note begins at {last:.1f} s, "
            f"but {name} ends at {audio.duration:.1f} s"
        )
    front_end = dictionary.front_end
    samples = audio.resample(front_end.sample_rate).samples
    offset = estimate_offset(samples, front_end.sample_rate, notes)
    played = np.isin(dictionary.pitches, notes.pitch)
    tuning = relative_tuning(audio, front_end, dictionary.W[:, played])
    V = transform_in_tune(audio, front_end, tuning)
    aligned = notes.shift(offset).without_overlaps()
    if not notes_fit(V, aligned, dictionary):
        raise ParameterError(
            f"{score_name}: the notes do not fit {name}; they must be aligned with it"
        )
    return _Take(V.values, V.hop_length / V.sample_rate, aligned, offset, tuning)


def _factorize(
    V: NDArray[np.float32],
    roll: NDArray[np.bool_],
    prior: NDArray[np.float64],
    dictionary: TimbreDictionary,
    solver: str,
    options: Mapping[str, Any],
) -> NDArray[np.float64]:
    """Estimate the timbres of the keys that are played, at their average level."""
    frequencies = dictionary.axis.frequencies
    octaves = np.log2(np.maximum(frequencies, frequencies[frequencies > 0][0]))
    bands = raised_cosine_bands(torch.from_numpy(octaves), _BAND).numpy()
    # The bands must add up to one in the powers that "bayesian" sums.
    templates = prior[..., None] * (bands**0.5 if solver == "bayesian" else bands)[:, None, None]
    nmf = HarmonicNMF(
        templates.reshape(len(V), -1, bands.shape[1]).astype(np.float32),
        solver=solver,
        **{**_DEFAULTS, **options},
    )
    start = roll.reshape(-1, V.shape[1]) * V.sum(axis=0)
    H = nmf.fit_transform(V.T, activations=start.T).T.reshape(roll.shape)
    level = H.sum(axis=2, dtype=np.float64) / np.maximum(roll.sum(axis=2), 1)
    return nmf.components_.T.reshape(prior.shape) * level


def _mixed(
    learned: NDArray[np.float64],
    prior: NDArray[np.float64],
    trust: float,
    n_attack: int,
) -> NDArray[np.float64]:
    """Geometric mean of a key's timbres, (n_bins, n_timbres), at the levels of the prior.

    `trust` is the weight of the learned timbres, at most 1; those that did not sound are zero.
    """
    current, target = learned.sum(axis=0), prior.sum(axis=0)
    weight = trust * (current > 0)
    level = np.ones(len(weight))
    # The frames of an attack keep their levels relative to each other.
    for timbres in (slice(n_attack), *range(n_attack, len(weight))):
        known = weight[timbres] > 0
        if known.any():
            level[timbres] = (target[timbres] * known).sum() / (current[timbres] * known).sum()
    return prior ** (1 - weight) * (learned * level) ** weight
