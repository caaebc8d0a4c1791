"""MV2H: multi-pitch detection, voice separation, metre, note value and harmony of a score."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import ParameterError
from harmnmf.score.bars import TICKS, Bars, beat_duration, is_compound
from harmnmf.score.score import Score, ScoreNotes

from .alignment import ScoreAlignment, align_scores

__all__ = ["mv2h"]

# A quarter lasts 500 ms in MV2H, and after the alignment its tolerance is 20 ms.
_TOLERANCE = TICKS * 20 / 500
_FIFTH_SCORE = 0.5  # of a key a fifth from the right one

_Pair = tuple[int, int]


def mv2h(
    reference: Score, estimated: Score, *, alignment: ScoreAlignment | None = None
) -> dict[str, float]:
    """Compare two scores by MV2H for music that is not aligned in time.

    The estimated score is moved on the time axis of the reference by
    :func:`~harmnmf.score.evaluation.alignment.align_scores`. Then:

    - *Multi-pitch* is the F-measure of notes of the same pitch and onset.
    - *Voice* is the F-measure of the links from each note to those that follow it in its voice, of
      notes found; notes that begin and end together are one, and links are weighted so that each
      such cluster counts once.
    - *Metre* is the F-measure of bars, beats and halves or thirds of beats, by their start and
      end.
    - *Value* is the mean of 1 less the relative error of durations, of notes found that have a
      correct link, or end their voice in both scores.
    - *Harmony* is the part of the time with the right key signature; one a fifth away counts half.
      Chord symbols, and modes, which MusicXML rarely tells, are not compared.
    - *MV2H* is the mean of the five.

    Voices are those of both staves, two each. Grace notes are left out.

    Parameters
    ----------
    reference, estimated : Score
        Scores.
    alignment : ScoreAlignment, optional
        Their alignment, if it is known.

    Returns
    -------
    dict of str to float
        "Multi-pitch", "Voice", "Metre", "Value", "Harmony" and "MV2H", each from 0 to 1.

    Raises
    ------
    ParameterError
        If the reference has no notes.

    References
    ----------
    A. McLeod and M. Steedman, "Evaluating automatic polyphonic music transcription", ISMIR 2018;
    A. McLeod, "Evaluating non-aligned musical score transcriptions with MV2H", ISMIR
    late-breaking/demo, 2019. Notes in chords are as in version 2.1 of McLeod's program.

    Examples
    --------
    >>> from harmnmf.score.score import Key
    >>> notes = ScoreNotes(*(np.array(column) for column in (
    ...     [0, 480, 960], [480, 480, 480], [60, 62, 64], [1, 1, 1], [1, 1, 1], [0, 2, 4], [""] * 3,
    ... )))
    >>> score = Score(notes, Bars([[3, 4]]), (Key(0, 0),))
    >>> mv2h(score, score)["MV2H"]
    1.0
    """
    alignment = alignment or align_scores(reference, estimated)
    ref, est = _Voices(reference.notes), _Voices(estimated.notes)
    if not ref.onset.size:
        raise ParameterError("the reference has no notes to score against")
    onset = alignment.to_reference(est.onset)
    duration = alignment.to_reference(est.onset + est.duration) - onset
    pairs = _matches(ref, est, onset)
    voice, checked = _compare_voices(ref, est, pairs)
    errors = [abs(duration[b] - ref.duration[a]) for a, b in checked]
    values = [
        1.0 if error <= _TOLERANCE else max(0.0, 1 - error / ref.duration[a])
        for error, (a, _) in zip(errors, checked, strict=True)
    ]
    scores = {
        "Multi-pitch": _f_measure(len(pairs), ref.onset.size, est.onset.size),
        "Voice": voice,
        "Metre": _compare_metres(reference.bars, estimated.bars, alignment),
        "Value": float(np.mean(values)) if values else 0.0,
        "Harmony": _compare_keys(reference, estimated, alignment),
    }
    return {**scores, "MV2H": sum(scores.values()) / len(scores)}


class _Voices:
    """Notes of a score that have a duration, and which of them follow each other in a voice."""

    def __init__(self, notes: ScoreNotes) -> None:
        is_timed = notes.duration > 0
        self.onset, self.duration = notes.onset[is_timed], notes.duration[is_timed]
        self.pitch = notes.pitch[is_timed]
        self.voice = 2 * notes.staff[is_timed] + notes.voice[is_timed]

    def links(self, notes: NDArray[np.int64]) -> dict[int, tuple[list[int], int]]:
        """Find which of some notes follow each of them, and the size of its cluster.

        To a cluster follow those that begin where it ends, or the next after that.
        """
        voices: dict[int, dict[_Pair, list[int]]] = defaultdict(lambda: defaultdict(list))
        for note in notes.tolist():
            onset = int(self.onset[note])
            times = onset, onset + int(self.duration[note])
            voices[int(self.voice[note])][times].append(note)
        found = {}
        for clusters in voices.values():
            begin: dict[int, list[int]] = defaultdict(list)
            for (onset, _), members in clusters.items():
                begin[onset] += members
            onsets = np.array(sorted(begin))
            for (_, offset), members in clusters.items():
                place = int(np.searchsorted(onsets, offset))
                following = begin[int(onsets[place])] if place < onsets.size else []
                for note in members:
                    found[note] = following, len(members)
        return found


def _f_measure(matches: float, n_reference: float, n_estimated: float) -> float:
    """F-measure; 1 if there is nothing to find, and nothing was found."""
    total = n_reference + n_estimated
    return 2 * matches / total if total else 1.0


def _matches(ref: _Voices, est: _Voices, onset: NDArray[np.int64]) -> list[_Pair]:
    """Pair the notes of one pitch and onset, those of one voice first."""
    free: dict[_Pair, list[int]] = defaultdict(list)
    for index, key in enumerate(zip(ref.pitch.tolist(), ref.onset.tolist(), strict=True)):
        free[key].append(index)
    pairs = []
    for index, key in enumerate(zip(est.pitch.tolist(), onset.tolist(), strict=True)):
        if free[key]:
            same = [other for other in free[key] if ref.voice[other] == est.voice[index]]
            other = (same or free[key])[0]
            free[key].remove(other)
            pairs.append((other, index))
    return pairs


def _compare_voices(ref: _Voices, est: _Voices, pairs: list[_Pair]) -> tuple[float, list[_Pair]]:
    """F-measure of links between notes found, and the notes whose durations can be compared."""
    found = np.array(pairs, np.int64).reshape(-1, 2)
    partner = dict(zip(found[:, 1].tolist(), found[:, 0].tolist(), strict=True))
    ref_links, est_links = ref.links(found[:, 0]), est.links(found[:, 1])
    all_links = ref.links(np.arange(ref.onset.size))
    matches = n_ref = n_est = 0.0
    checked = []
    for a, b in pairs:
        (following, ref_size), (estimated, est_size) = ref_links[a], est_links[b]
        predicted = {partner[note] for note in estimated}
        weight = (len(following) + len(predicted)) / 2 * (ref_size + est_size) / 2
        if weight:
            matches += len(predicted.intersection(following)) / weight
            n_ref += len(following) / weight
            n_est += len(predicted) / weight
        truly = all_links[a][0]
        if predicted.intersection(truly) or not (predicted or truly):
            checked.append((a, b))
    return _f_measure(matches, n_ref, n_est), checked


def _compare_metres(reference: Bars, estimated: Bars, alignment: ScoreAlignment) -> float:
    ref, est = _groups(reference), alignment.to_reference(_groups(estimated))
    order = np.argsort(ref[:, 0], kind="stable")
    ref = ref[order]
    first = np.searchsorted(ref[:, 0], est[:, 0] - _TOLERANCE, side="left")
    last = np.searchsorted(ref[:, 0], est[:, 0] + _TOLERANCE, side="right")
    is_free = np.ones(len(ref), np.bool_)
    for start, stop, end in zip(first, last, est[:, 1], strict=True):
        near = is_free[start:stop] & (np.abs(ref[start:stop, 1] - end) <= _TOLERANCE)
        if near.any():
            is_free[start + near.argmax()] = False
    return _f_measure(int((~is_free).sum()), len(ref), len(est))


def _groups(bars: Bars) -> NDArray[np.int64]:
    """Start and end of each bar, beat and part of a beat; a pickup is no bar."""
    groups = []
    for index, (upper, lower) in enumerate(bars.time_signatures.tolist()):
        start, end = bars.starts[index : index + 2].tolist()
        if index or not bars.pickup:
            groups.append((start, end))
        beat = beat_duration(upper, lower)
        n_parts = 3 if is_compound(upper, lower) else 2
        for duration in (beat, beat // n_parts):
            # Those of a pickup are counted from its end.
            starts = range(start + (end - start) % duration, end, duration)
            groups += [(position, position + duration) for position in starts]
    return np.array(groups)


def _compare_keys(reference: Score, estimated: Score, alignment: ScoreAlignment) -> float:
    """Part of the reference's time with the right key signature."""
    ref_start = reference.bars.starts[[key.bar for key in reference.keys]]
    est_start = alignment.to_reference(estimated.bars.starts[[key.bar for key in estimated.keys]])
    est_start[0] = min(est_start[0], 0)
    end = reference.bars.starts[-1]
    edges = np.unique(np.clip([*ref_start, *est_start, 0, end], 0, end))
    total = 0.0
    for start, duration in zip(edges[:-1], np.diff(edges), strict=True):
        ref, est = (
            keys[int(np.searchsorted(starts, start, side="right")) - 1].fifths
            for starts, keys in ((ref_start, reference.keys), (est_start, estimated.keys))
        )
        distance = (ref - est) % 12
        total += duration * {0: 1.0, 1: _FIFTH_SCORE, 11: _FIFTH_SCORE}.get(distance, 0.0)
    return float(total / end)
