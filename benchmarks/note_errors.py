"""Classes of transcription errors, from the reference, the estimate and the recording.

Notes match as for the scores: same pitch, onsets within 50 ms, one to one, by mir_eval. Missed and
extra notes each have one class, the first that applies. "Together" means onsets within 50 ms.

Missed notes:

================  =================================================================================
annotated late,   the note was estimated 50 to 150 ms before or after its annotation, and is among
annotated early   the extra ones, but its sound begins nearer to the estimate
detected late,    the same, but its sound begins nearer to the annotation
detected early
too soft          the energy at its first partials rises by less than 1 dB at the onset
repeated          the same key sounded until less than 50 ms before
octave            a note 12, 19 or 24 semitones away begins together with it, as loud or louder
chord             at least four notes begin together
pedal             at least eight notes sound
other
================  =================================================================================

Extra notes:

================  =================================================================================
annotated late,   as above: as many as among the missed notes
annotated early,
detected late,
detected early
repetition        the same key sounds: one note was estimated as two
overtone          a note 12, 19 or 24 semitones below begins together with it
undertone         a note 12, 19 or 24 semitones above begins together with it
neighbour         a neighbouring key begins together with it
with others       other notes begin together with it
alone             no note begins
================  =================================================================================

To decide what begins together with an extra note, notes that were found, or that are annotated late
or early, count at their estimated onset; others at the annotation plus the median lag.
"""

from __future__ import annotations

from typing import NamedTuple

import mir_eval
import numpy as np
from numpy.typing import NDArray

from harmnmf import Audio, NoteList
from harmnmf.signal.harmonics import HarmonicSeries, piano_inharmonicity, pitch_to_hz
from harmnmf.signal.spectrogram import LogFrequency

TOLERANCE = 0.05  # seconds, between onsets that match; also of notes struck together
MISTIMED = 0.15  # seconds, largest distance from an annotation to a mistimed estimate
HARMONICS = (12, 19, 24)  # semitones from a fundamental to its partials 2 to 4
INAUDIBLE = 1.0  # decibels
CHORD = 4  # notes struck together
PEDAL = 8  # notes that sound

N_PARTIALS = 5
RISE_REACH = 0.06  # seconds from the annotation within which the rise is measured
SHORT = {"n_fft": 2048, "max_window": 0.1, "hop_length": 80}  # of LogFrequency, to locate onsets
SHORT_FLOOR = 0.01  # of each partial's maximum energy: -20 dB, the leakage of the windows

TIMING = ("annotated late", "annotated early", "detected late", "detected early")
MISSED = (*TIMING, "too soft", "repeated", "octave", "chord", "pedal", "other")
EXTRA = (
    *TIMING,
    *("repetition", "overtone", "undertone", "neighbour", "with others", "alone"),
)


class Sound(NamedTuple):
    """Measurements of each reference note in the recording.

    Parameters
    ----------
    onset : ndarray, shape (n_notes,)
        Time in seconds at which the sound begins.
    rise : ndarray, shape (n_notes,)
        Rise of the energy at its partials in decibels.
    """

    onset: NDArray[np.float64]
    rise: NDArray[np.float64]


class Errors(NamedTuple):
    """Classes of all notes.

    Parameters
    ----------
    missed : ndarray of str, shape (n_reference,)
        One of `MISSED` for each reference note, or "" if it was found.
    extra : ndarray of str, shape (n_estimated,)
        One of `EXTRA` for each estimated note, or "" if it is right.
    missed_if, extra_if : dict of str to ndarray of bool
        Notes, errors or not, that a class applies to regardless of the classes before it. Without
        the classes of timing, which apply to errors only.
    lag : float
        Median delay in seconds from annotation to estimate, of the notes that were found or that
        are annotated late or early; 0 if there are none.
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
        Notes to match.
    tolerance : float, default=0.05
        Largest difference of the onsets in seconds.

    Returns
    -------
    found : ndarray of int, shape (n_reference,)
        Index of the estimated note for each reference note, -1 if none.
    right : ndarray of int, shape (n_estimated,)
        Index of the reference note for each estimated note, -1 if none.

    Examples
    --------
    >>> reference = NoteList([0.0, 0.0, 1.0], [1, 1, 2], [60, 64, 60], [70, 70, 70])
    >>> estimated = NoteList([0.04, 1.06], [1, 2], [60, 60], [70, 70])
    >>> match_notes(reference, estimated)
    (array([ 0, -1, -1]), array([ 0, -1]))
    """
    found, right = (np.full(len(notes), -1) for notes in (reference, estimated))
    if len(reference) and len(estimated):
        pairs = mir_eval.transcription.match_notes(
            *(reference.intervals, reference.hz, estimated.intervals, estimated.hz),
            onset_tolerance=tolerance,
            offset_ratio=None,
        )
        for i, j in pairs:
            found[i], right[j] = j, i
    return found, right


def count_struck(notes: NoteList) -> NDArray[np.int64]:
    """Count the notes that begin within 50 ms of each note, itself included.

    Examples
    --------
    >>> count_struck(NoteList([0.0, 0.04, 0.08], [1, 1, 1], [60, 64, 67], [70, 70, 70]))
    array([2, 3, 2])
    """
    return _together(notes, notes).sum(axis=1)


def count_sounding(notes: NoteList) -> NDArray[np.int64]:
    """Count the notes that sound when each note begins, including those that begin with it.

    Offsets decide: with pedalled offsets, notes that the pedal holds count.

    Examples
    --------
    >>> count_sounding(NoteList([0.0, 0.04, 0.9], [1, 0.8, 2], [60, 64, 67], [70, 70, 70]))
    array([2, 2, 2])
    """
    begun = notes.onset <= notes.onset[:, None] + TOLERANCE
    return (begun & (notes.offset > notes.onset[:, None])).sum(axis=1)


def find_sound(audio: Audio, notes: NoteList) -> Sound:
    """Measure when the sound of each note begins, and by how much it rises.

    Both are read at the first five partials, three bins each, a quarter of each bin's window before
    and after the time in question, where the other side hardly counts. The sound begins where the
    levels of the partials together rise most, up to 150 ms from the annotation, with windows of at
    most 100 ms. The rise of the energy is the greatest one up to 60 ms from the annotation, with
    the default windows of :class:`harmnmf.signal.spectrogram.LogFrequency`, which separate keys.
    Other notes at the same partials raise it, so that "too soft" is found too rarely.

    Parameters
    ----------
    audio : Audio
        The recording.
    notes : NoteList
        Reference notes.

    Returns
    -------
    Sound
        Onset and rise of each note.

    Examples
    --------
    >>> t = np.arange(32000) / 16000
    >>> tone = sum(np.sin(2 * np.pi * h * 440 * t) / h for h in range(1, 6)) * (t > 1.04)
    >>> notes = NoteList([0.5, 1.0], [1.0, 2.0], [69, 69], [70, 70])
    >>> sound = find_sound(Audio(tone, 16000), notes)
    >>> bool(abs(sound.onset[1] - 1.04) < 0.02), sound.rise > INAUDIBLE
    (True, array([False,  True]))
    """
    long, short = LogFrequency(), LogFrequency(**SHORT)
    samples = audio.to_mono().resample(long.sample_rate).samples
    reach = round(RISE_REACH * long.sample_rate / long.hop_length)
    before, after = (energy.sum(axis=-1) for energy in _around(samples, notes, long, reach))
    rise = 10 * np.log10(after / before).max(axis=0)
    reach = round(MISTIMED * short.sample_rate / short.hop_length)
    before, after = _around(samples, notes, short, reach)
    floor = SHORT_FLOOR * np.maximum(before, after).max(axis=0)
    rises = np.log((after + floor) / (before + floor)).clip(min=0).sum(axis=-1)
    steepest = rises.argmax(axis=0) - reach
    return Sound(notes.onset + steepest * short.hop_length / short.sample_rate, rise)


def _around(
    samples: NDArray[np.float32],
    notes: NoteList,
    front_end: LogFrequency,
    reach: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energy of partials before and after the `2 * reach + 1` frames around each onset.

    Both have shape (2 * reach + 1, n_notes, n_partials), and a floor of 1e-10 of the maximum.
    """
    energy = np.square(front_end.transform(samples).values, dtype=np.float64)
    series = HarmonicSeries(N_PARTIALS, piano_inharmonicity(notes.pitch))
    positions, valid = series.positions(pitch_to_hz(notes.pitch), front_end.axis)
    last_bin, last_frame = (n - 1 for n in energy.shape)
    bins = np.round(positions).astype(int).clip(0, last_bin)
    quarter = front_end.window_durations[bins] / 4
    hop = front_end.hop_length / front_end.sample_rate
    steps = np.arange(-reach, reach + 1)[:, None, None]
    least = 1e-10 * energy.max() + np.finfo(np.float64).tiny

    def read(times: NDArray[np.float64]) -> NDArray[np.float64]:
        frames = (np.round(times / hop).astype(int) + steps).clip(0, last_frame)
        total = sum(energy[(bins + d).clip(0, last_bin), frames] for d in (-1, 0, 1))
        return np.where(valid, total, 0.0) + least

    onset = notes.onset[:, None]
    return read(onset - quarter), read(onset + quarter)


def f_measures(errors: Errors) -> tuple[float, float]:
    """Compute the F-measure, and the one with notes annotated late or early counted as right.

    Examples
    --------
    >>> classes = np.array(["", "annotated late"])
    >>> f_measures(Errors(missed=classes, extra=classes, missed_if={}, extra_if={}, lag=0.0))
    (0.5, 1.0)
    """
    n_found, n_more = (errors.missed == "").sum(), np.isin(errors.missed, TIMING[:2]).sum()
    n_notes = len(errors.missed) + len(errors.extra)
    return float(2 * n_found / n_notes), float(2 * (n_found + n_more) / n_notes)


def find_errors(reference: NoteList, estimated: NoteList, sound: Sound) -> Errors:
    """Classify missed and extra notes as the documentation of the module defines.

    Parameters
    ----------
    reference : NoteList
        Reference notes, with pedalled offsets.
    estimated : NoteList
        Notes of the transcription.
    sound : Sound
        Measurements of the reference notes.

    Returns
    -------
    Errors
        Class of each note.

    Examples
    --------
    >>> reference = NoteList([0.0, 0.0, 2.0], [1, 1, 3], [48, 60, 64], [70, 60, 70])
    >>> estimated = NoteList([0.0, 0.0, 2.1], [1, 1, 3], [48, 72, 64], [70, 70, 70])
    >>> sound = Sound(reference.onset, rise=np.array([20.0, 10.0, 15.0]))
    >>> errors = find_errors(reference, estimated, sound)
    >>> errors.missed.tolist(), errors.extra.tolist()
    (['', 'octave', 'detected late'], ['', 'overtone', 'detected late'])
    """
    found, right = match_notes(reference, estimated)
    lost, spare = np.flatnonzero(found < 0), np.flatnonzero(right < 0)
    moved, _ = match_notes(_taken(reference, lost), _taken(estimated, spare), MISTIMED)
    mistimed, moved = lost[moved >= 0], spare[moved[moved >= 0]]

    timing = _timing(reference.onset[mistimed], estimated.onset[moved], sound.onset[mistimed])
    is_estimate_right = np.isin(timing, TIMING[:2])
    estimated_onset = np.full(len(reference), np.nan)
    estimated_onset[found >= 0] = estimated.onset[found[found >= 0]]
    estimated_onset[mistimed[is_estimate_right]] = estimated.onset[moved[is_estimate_right]]
    delay = estimated_onset - reference.onset
    lag = 0.0 if np.isnan(delay).all() else float(np.nanmedian(delay))

    missed_if = _missed_if(reference, sound.rise)
    onset = np.where(np.isnan(estimated_onset), reference.onset + lag, estimated_onset)
    extra_if = _extra_if(onset, reference, estimated, right)
    # Wide enough for every name: assignment would truncate longer ones.
    missed = np.select(list(missed_if.values()), list(missed_if), MISSED[-1]).astype("<U16")
    extra = np.select(list(extra_if.values()), list(extra_if), EXTRA[-1]).astype("<U16")
    missed[mistimed], extra[moved] = timing, timing
    missed[found >= 0], extra[right >= 0] = "", ""
    return Errors(missed, extra, missed_if, extra_if, lag)


def _timing(
    annotated: NDArray[np.float64], estimated: NDArray[np.float64], sound: NDArray[np.float64]
) -> NDArray[np.str_]:
    is_late = estimated > annotated
    is_right = np.abs(estimated - sound) < np.abs(annotated - sound)
    return np.select([is_right & ~is_late, is_right, is_late], TIMING[:3], TIMING[3])


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
    """Classes that apply to extra notes, given the onsets of the reference as estimated."""
    # A right note is not compared with the reference note that it matches.
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
    # The selected notes keep their order.
    columns = (notes.onset, notes.offset, notes.pitch, notes.velocity)
    return NoteList(*(values[which] for values in columns))
