"""Rates of errors in a score: what must be edited to correct it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import ParameterError
from harmnmf.score.bars import TICKS
from harmnmf.score.score import Score

from .alignment import ScoreAlignment, align_scores

__all__ = ["error_rates"]

_NEAR = TICKS  # ticks from its place at which a note is still found
# Note values from a 64th to two whole notes, dotted, double-dotted and in triplets. The time unit
# of a score can be wrong by the ratio of any two.
_VALUES = (
    *(8, 12, 16, 18, 21, 24, 32, 36, 42, 48, 64, 72, 84, 96),
    *(128, 144, 168, 192, 256, 288, 336, 384, 576, 672),
)
_SCALES = sorted({Fraction(a, b) for a in _VALUES for b in _VALUES})


def error_rates(
    reference: Score, estimated: Score, *, alignment: ScoreAlignment | None = None
) -> dict[str, float]:
    """Count the errors of a score, in the manner of MUSTER.

    Scores are aligned by :func:`~harmnmf.score.evaluation.alignment.align_scores`. A note matches
    one of its pitch at the same onset, else the nearest of its pitch within a quarter, else one of
    another pitch at the same onset, which is a pitch error. The rates are fractions:

    - missing notes and pitch errors, of the notes of the reference;
    - extra notes, of those of the estimate;
    - onset errors: the least number of changes of the time unit, and of wrong durations from the
      onset of a matching note to the next, that explain all onsets, of the matching notes;
    - offset errors: notes that end at the wrong place, after onsets are corrected, of the matching
      notes.

    MUSTER aligns notes by a hidden Markov model, so that its rates differ a little. Grace notes
    are left out.

    Parameters
    ----------
    reference, estimated : Score
        Scores.
    alignment : ScoreAlignment, optional
        Their alignment, if it is known.

    Returns
    -------
    dict of str to float
        "Missing_Note_Rate", "Extra_Note_Rate", "Pitch_Error_Rate", "Onset_Error_Rate",
        "Offset_Error_Rate", and their mean, "Mean_Error_Rate"; and of the notes of the same pitch
        and onset the parts on the correct staff, "Hands", and with the correct name, "Spelling",
        which are missing if there are none.

    Raises
    ------
    ParameterError
        If the reference has no notes.

    References
    ----------
    E. Nakamura, E. Benetos, K. Yoshii and S. Dixon, "Towards complete polyphonic music
    transcription: integrating multi-pitch detection and rhythm quantization", ICASSP 2018; Y.
    Hiramatsu, E. Nakamura and K. Yoshii, "Joint estimation of note values and voices for
    audio-to-score piano transcription", ISMIR 2021.

    Examples
    --------
    >>> from harmnmf.score.bars import Bars
    >>> from harmnmf.score.score import Key, ScoreNotes
    >>> def score(*durations):
    ...     n, end = len(durations), np.cumsum(durations)
    ...     columns = (end - durations, durations, [60] * n, [1] * n, [1] * n, [0] * n, [""] * n)
    ...     notes = ScoreNotes(*(np.array(column) for column in columns))
    ...     return Score(notes, Bars([[4, 4]]), (Key(0, 0),))
    >>> error_rates(score(480, 480, 960), score(480, 720, 720))["Onset_Error_Rate"]
    0.3333333333333333
    """
    alignment = alignment or align_scores(reference, estimated)
    ref, est = reference.notes, estimated.notes
    ref_index, est_index = (np.flatnonzero(notes.duration > 0) for notes in (ref, est))
    n_ref, n_est = ref_index.size, est_index.size
    if not n_ref:
        raise ParameterError("the reference has no notes to score against")
    onset = alignment.to_reference(est.onset)
    offset = alignment.to_reference(est.onset + est.duration)
    found, moved, wrong = _match(
        *(ref.pitch[ref_index], ref.onset[ref_index]), *(est.pitch[est_index], onset[est_index])
    )
    pairs = np.concatenate([found, moved, wrong])
    a, b = ref_index[pairs[:, 0]], est_index[pairs[:, 1]]
    order = np.lexsort((ref.pitch[a], ref.onset[a]))
    a, b = a[order], b[order]
    n_matches = max(1, len(pairs))
    ends = np.abs(offset[b] - ref.onset[a] - ref.duration[a])
    rates = {
        "Missing_Note_Rate": (n_ref - len(pairs)) / n_ref,
        "Extra_Note_Rate": (n_est - len(pairs)) / max(1, n_est),
        "Pitch_Error_Rate": len(wrong) / n_ref,
        "Onset_Error_Rate": _rhythm_correction_cost(ref.onset[a], est.onset[b]) / n_matches,
        # Positions are rounded to ticks.
        "Offset_Error_Rate": float((ends > 1).sum() / n_matches),
    }
    rates["Mean_Error_Rate"] = sum(rates.values()) / len(rates)
    if len(found):
        a, b = ref_index[found[:, 0]], est_index[found[:, 1]]
        rates["Hands"] = float(np.mean(ref.staff[a] == est.staff[b]))
        rates["Spelling"] = float(np.mean(ref.fifths[a] == est.fifths[b]))
    return rates


def _match(
    ref_pitch: NDArray[np.int64],
    ref_onset: NDArray[np.int64],
    est_pitch: NDArray[np.int64],
    est_onset: NDArray[np.int64],
) -> list[NDArray[np.int64]]:
    """Pair notes: of the same pitch and onset, of the same pitch nearby, of another pitch."""
    ref_free, est_free = np.ones(ref_pitch.size, np.bool_), np.ones(est_pitch.size, np.bool_)
    found = []
    for max_distance, max_interval in ((0, 0), (_NEAR, 0), (0, 127)):
        candidates = []
        for index in np.flatnonzero(est_free):
            low, high = np.searchsorted(
                ref_onset, [est_onset[index] - max_distance, est_onset[index] + max_distance + 1]
            )
            interval = np.abs(ref_pitch[low:high] - est_pitch[index])
            near = low + np.flatnonzero(ref_free[low:high] & (interval <= max_interval))
            candidates += [
                (abs(ref_onset[other] - est_onset[index]), interval[other - low], other, index)
                for other in near
            ]
        pairs = []
        for _, _, other, index in sorted(candidates):
            if ref_free[other] and est_free[index]:
                ref_free[other] = est_free[index] = False
                pairs.append((other, index))
        found.append(np.array(pairs, np.int64).reshape(-1, 2))
    return found


def _rhythm_correction_cost(reference: NDArray[np.int64], estimated: NDArray[np.int64]) -> int:
    """Least number of changes of scale and of intervals that make all intervals between onsets."""
    if reference.size < 2:
        return 0
    upper, lower = (
        np.array([getattr(scale, name) for scale in _SCALES])
        for name in ("numerator", "denominator")
    )
    cost = (upper != lower).astype(np.int64)
    for ref, est in zip(np.diff(reference), np.diff(estimated), strict=True):
        cost = np.minimum(cost, cost.min() + 1) + (ref * lower != est * upper)
    return int(cost.min())
