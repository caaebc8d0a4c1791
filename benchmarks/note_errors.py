"""Where a transcription errs, and how: pure functions of what was played and what was heard.

Notes match as for the scores: same pitch, onsets within 50 ms, one to one, by mir_eval. What is
missed and what is extra falls into classes that exclude each other: the first that applies counts.

Notes that are missed:

=============  ====================================================================================
annotation     the note is among the extra ones, 50 to 150 ms away, and would match if the piece's
               annotation were shifted by the median lag of its matched notes
late, early    the note is among the extra ones, 50 to 150 ms after or before
too soft       the energy at its first partials rises by less than 1 dB at the onset
repeated       the same key has sounded until less than 50 ms before
octave         a note 12, 19 or 24 semitones away was struck together with it, at least as loud
chord          at least four notes were struck together
pedal          at least eight notes sound
other
=============  ====================================================================================

Notes that are extra:

=============  ====================================================================================
annotation,    as above: as many as among the missed ones
late, early
repetition     the same key sounds: it was struck once and heard twice
overtone       a note 12, 19 or 24 semitones below was struck together with it
undertone      a note 12, 19 or 24 semitones above was struck together with it
neighbour      a neighbouring key was struck together with it
with others    other notes were struck together with it
alone          nothing was struck
=============  ====================================================================================

Together is within 50 ms. For extra notes, the annotation is first shifted by the median lag of the
piece's matched notes; scores are never.
"""

from __future__ import annotations

from typing import NamedTuple

import mir_eval
import numpy as np
from numpy.typing import NDArray

from harmnmf import Audio, NoteList
from harmnmf.harmonics import HarmonicSeries, piano_inharmonicity, pitch_to_hz
from harmnmf.spectrogram import LogFrequency

TOLERANCE = 0.05  # seconds, between onsets that match; also of notes struck together
MISTIMED = 0.15  # seconds, between onsets of a note that was heard at a wrong time
HARMONICS = (12, 19, 24)  # semitones from a fundamental to its partials 2 to 4
INAUDIBLE = 1.0  # decibels
CHORD = 4  # notes struck together
PEDAL = 8  # notes that sound
N_PARTIALS = 5
LATEST = 0.06  # seconds from the annotation to the onset of the sound, at most

TIMING = ("annotation", "late", "early")
MISSED = (*TIMING, "too soft", "repeated", "octave", "chord", "pedal", "other")
EXTRA = (
    *TIMING,
    *("repetition", "overtone", "undertone", "neighbour", "with others", "alone"),
)


class Errors(NamedTuple):
    """How each note fared.

    Parameters
    ----------
    missed : ndarray of str, shape (n_reference,)
        For each note that was played one of `MISSED`, or "" if it was found.
    extra : ndarray of str, shape (n_estimated,)
        For each note that was heard one of `EXTRA`, or "" if it is right.
    missed_if, extra_if : dict of str to ndarray of bool
        Which notes, found or missed, right or extra, a class applies to, whatever comes before it
        in order. Classes about timing are not among them: they apply to errors only.
    lag : float
        Median of the seconds from annotated to transcribed onsets of notes that match, 0 if none.
    """

    missed: NDArray[np.str_]
    extra: NDArray[np.str_]
    missed_if: dict[str, NDArray[np.bool_]]
    extra_if: dict[str, NDArray[np.bool_]]
    lag: float


def match_notes(
    reference: NoteList, estimated: NoteList, tolerance: float = TOLERANCE
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Match notes by pitch and onset, one to one.

    Parameters
    ----------
    reference, estimated : NoteList
        What was played and what was heard.
    tolerance : float, default=0.05
        Largest distance of the onsets in seconds.

    Returns
    -------
    found : ndarray of int, shape (n_reference,)
        For each note that was played the one that was heard, -1 if none.
    right : ndarray of int, shape (n_estimated,)
        The other way round.

    Examples
    --------
    >>> played = NoteList([0.0, 0.0, 1.0], [1, 1, 2], [60, 64, 60], [70, 70, 70])
    >>> heard = NoteList([0.04, 1.06], [1, 2], [60, 60], [70, 70])
    >>> match_notes(played, heard)
    (array([ 0, -1, -1]), array([ 0, -1]))
    """
    found, right = (np.full(len(notes), -1) for notes in (reference, estimated))
    if len(reference) and len(estimated):
        pairs = mir_eval.transcription.match_notes(
            *(reference.intervals, reference.hz, estimated.intervals, estimated.hz),
            onset_tolerance=tolerance,
            offset_ratio=None,
        )
        for played, heard in pairs:
            found[played], right[heard] = heard, played
    return found, right


def count_struck(notes: NoteList) -> NDArray[np.int64]:
    """Count the notes struck within 50 ms of each note, itself included.

    Parameters
    ----------
    notes : NoteList
        What was played.

    Returns
    -------
    ndarray of int, shape (n_notes,)

    Examples
    --------
    >>> count_struck(NoteList([0.0, 0.04, 0.08], [1, 1, 1], [60, 64, 67], [70, 70, 70]))
    array([2, 3, 2])
    """
    return _together(notes, notes).sum(axis=1)


def count_sounding(notes: NoteList) -> NDArray[np.int64]:
    """Count the notes that sound when each note begins, itself and those struck with it included.

    Parameters
    ----------
    notes : NoteList
        What was played; where notes end says whether the pedal counts.

    Returns
    -------
    ndarray of int, shape (n_notes,)

    Examples
    --------
    >>> count_sounding(NoteList([0.0, 0.04, 0.9], [1, 0.8, 2], [60, 64, 67], [70, 70, 70]))
    array([2, 2, 2])
    """
    begun = notes.onset <= notes.onset[:, None] + TOLERANCE
    return (begun & (notes.offset > notes.onset[:, None])).sum(axis=1)


def onset_rise(audio: Audio, notes: NoteList) -> NDArray[np.float64]:
    """Measure by how much the energy at a note's first partials rises at its onset.

    A bin is read a quarter of its window before the onset and as long after, in both of which the
    other side of the onset has hardly any weight. Since an annotation may precede the sound, the
    greatest rise counts of those with the later reading up to 60 ms later still. What else is
    struck on the same partials raises them, too, so that too few notes seem too soft.

    Parameters
    ----------
    audio : Audio
        The recording.
    notes : NoteList
        What was played.

    Returns
    -------
    ndarray, shape (n_notes,)
        Decibels.

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(32000) / 16000) * (np.arange(32000) > 16000)
    >>> played = NoteList([0.5, 1.0], [1.0, 2.0], [69, 69], [70, 70])
    >>> onset_rise(Audio(tone, 16000), played) > INAUDIBLE
    array([False,  True])
    """
    front_end = LogFrequency()
    energy = front_end.transform(audio.to_mono().resample(front_end.sample_rate).samples).values
    energy = np.square(energy, dtype=np.float64)
    energy += 1e-10 * energy.max() + np.finfo(np.float64).tiny
    series = HarmonicSeries(N_PARTIALS, piano_inharmonicity(notes.pitch))
    positions, valid = series.positions(pitch_to_hz(notes.pitch), front_end.axis)
    bins = np.round(positions).astype(int).clip(0, front_end.axis.n_bins - 1)
    hop = front_end.hop_length / front_end.sample_rate

    def at(times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Energy of each note at times (n_notes, n_partials), from three bins a partial."""
        frames = np.round(times / hop).astype(int).clip(0, energy.shape[1] - 1)
        total = sum(
            energy[(bins + d).clip(0, front_end.axis.n_bins - 1), frames] for d in (-1, 0, 1)
        )
        return np.where(valid, total, 0.0).sum(axis=1)

    quarter = front_end.window_durations[bins] / 4
    onsets = notes.onset[:, None]
    after = np.max([at(onsets + quarter + d) for d in np.arange(0, LATEST + hop / 2, hop)], axis=0)
    return 10 * np.log10(after / at(onsets - quarter))


def find_errors(reference: NoteList, estimated: NoteList, rise: NDArray[np.float64]) -> Errors:
    """Classify every note that is missed or extra.

    Parameters
    ----------
    reference : NoteList
        What was played, with pedalled offsets.
    estimated : NoteList
        What was heard.
    rise : ndarray, shape (n_reference,)
        As :func:`onset_rise` gives it.

    Returns
    -------
    Errors
        The classes that the documentation of the module defines.

    Examples
    --------
    >>> played = NoteList([0.0, 0.0, 2.0], [1, 1, 3], [48, 60, 64], [70, 60, 70])
    >>> heard = NoteList([0.0, 2.1, 2.0], [1, 3, 3], [48, 64, 76], [70, 70, 70])
    >>> errors = find_errors(played, heard, rise=np.array([20.0, 10.0, 15.0]))
    >>> errors.missed.tolist(), errors.extra.tolist()
    (['', 'octave', 'late'], ['', 'overtone', 'late'])
    """
    found, right = match_notes(reference, estimated)
    matched = np.flatnonzero(found >= 0)
    delays = estimated.onset[found[matched]] - reference.onset[matched]
    lag = float(np.median(delays)) if len(delays) else 0.0

    missed_if = _missed_if(reference, rise)
    extra_if = _extra_if(reference.onset + lag, reference, estimated, right)
    missed = np.select(list(missed_if.values()), list(missed_if), default="other")
    extra = np.select(list(extra_if.values()), list(extra_if), default="alone")

    lost, spare = np.flatnonzero(found < 0), np.flatnonzero(right < 0)
    moved, _ = match_notes(_taken(reference, lost), _taken(estimated, spare), MISTIMED)
    pairs = lost[moved >= 0], spare[moved[moved >= 0]]
    delay = estimated.onset[pairs[1]] - reference.onset[pairs[0]]
    timing = np.select([np.abs(delay - lag) <= TOLERANCE, delay > 0], TIMING[:2], TIMING[2])
    # Long enough for any class, or assignment would cut names off.
    missed, extra = missed.astype("<U16"), extra.astype("<U16")
    missed[pairs[0]], extra[pairs[1]] = timing, timing
    missed[found >= 0], extra[right >= 0] = "", ""
    return Errors(missed, extra, missed_if, extra_if, lag)


def _missed_if(notes: NoteList, rise: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    together = _together(notes, notes)
    interval = notes.pitch[:, None] - notes.pitch
    gap = notes.onset[:, None] - notes.offset
    earlier = notes.onset[:, None] > notes.onset
    louder = notes.velocity >= notes.velocity[:, None]
    return {
        "too soft": rise < INAUDIBLE,
        "repeated": ((interval == 0) & earlier & (gap < TOLERANCE)).any(axis=1),
        "octave": (together & louder & np.isin(np.abs(interval), HARMONICS)).any(axis=1),
        "chord": count_struck(notes) >= CHORD,
        "pedal": count_sounding(notes) >= PEDAL,
    }


def _extra_if(
    onset: NDArray[np.float64], reference: NoteList, estimated: NoteList, right: NDArray[np.int64]
) -> dict[str, NDArray[np.bool_]]:
    """Tell which classes apply, with the reference's onsets where its notes were heard."""
    # What a right note was matched with is itself, and says nothing about others.
    other = np.arange(len(reference)) != right[:, None]
    begun = onset - TOLERANCE <= estimated.onset[:, None]
    sounding = other & begun & (estimated.onset[:, None] < reference.offset)
    together = other & (np.abs(estimated.onset[:, None] - onset) <= TOLERANCE)
    interval = estimated.pitch[:, None] - reference.pitch
    return {
        "repetition": (sounding & (interval == 0)).any(axis=1),
        "overtone": (together & np.isin(interval, HARMONICS)).any(axis=1),
        "undertone": (together & np.isin(-interval, HARMONICS)).any(axis=1),
        "neighbour": (together & (np.abs(interval) == 1)).any(axis=1),
        "with others": together.any(axis=1),
    }


def _together(notes: NoteList, others: NoteList) -> NDArray[np.bool_]:
    return np.abs(notes.onset[:, None] - others.onset) <= TOLERANCE


def _taken(notes: NoteList, which: NDArray[np.int64]) -> NoteList:
    # Already in order, so that the order of what is taken stays.
    columns = (notes.onset, notes.offset, notes.pitch, notes.velocity)
    return NoteList(*(values[which] for values in columns))
