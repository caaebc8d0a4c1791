"""Evaluation of beats and of scores.

Beats are compared with mir_eval, whose names the scores keep.

Conventions
-----------
*Beats.* `F-measure` counts beats within 70 ms, and `Downbeat_F-measure` those that begin bars.
`Correct Metric Level Total` is the part of the reference in which successive beats are correct,
within 17.5 % of the time between two; `Any Metric Level Total` allows double and half tempo and the
offbeat; `... Continuous` count the longest such stretch. All beats count: mir_eval's own
`evaluate` leaves those of the first five seconds out. `Beats_per_Bar` is 1 if the most frequent
number of beats from downbeat to downbeat is right, and else 0.

*Keys and hands.* `Key_Weighted_Score` is that of :func:`mir_eval.key.weighted_score` for the key
that holds longest, `Key_Signature` is 1 if its signature is right, and `Hands` is the part of the
notes of the same pitch and onset (50 ms) that are in the correct hand. Both are scored only if both
files have them.

*Scores* are compared by :func:`~harmnmf.score.evaluation.mv2h.mv2h` and
:func:`~harmnmf.score.evaluation.error_rates.error_rates`; `Key_Signature` is as above.

*Means* are over the pieces that have a value, with equal weights.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import mir_eval
import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import FormatError, ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.notes.pairing import Evaluation, evaluate_pairs
from harmnmf.notes.suffixes import MIDI_SUFFIXES
from harmnmf.score.key_names import key_name
from harmnmf.score.reading.annotations import BEAT_SUFFIXES, Annotations, read_annotations
from harmnmf.score.reading.musicxml import MUSICXML_SUFFIXES, read_musicxml
from harmnmf.score.score import Key, Score
from harmnmf.validation import check_number

from .alignment import align_scores
from .error_rates import error_rates
from .mv2h import mv2h

__all__ = ["evaluate_beat_files", "evaluate_beats", "evaluate_score", "evaluate_score_files"]

_LEVELS = (
    *("Correct Metric Level Continuous", "Correct Metric Level Total"),
    *("Any Metric Level Continuous", "Any Metric Level Total"),
)


def evaluate_beats(reference: Annotations, estimated: Annotations) -> dict[str, float]:
    """Score beats against a reference, and downbeats, keys and hands if both have them.

    Parameters
    ----------
    reference, estimated : Annotations
        Ground truth and estimate.

    Returns
    -------
    dict of str to float
        Scores by name; the module's documentation explains the names.

    Raises
    ------
    ParameterError
        If the reference has no beats.

    Examples
    --------
    >>> reference = Annotations(np.arange(8) / 2, np.arange(2) * 2.0)
    >>> estimated = Annotations(np.arange(4) * 1.0, np.arange(2) * 2.0)
    >>> scores = evaluate_beats(reference, estimated)
    >>> round(scores["F-measure"], 3), scores["Downbeat_F-measure"], scores["Beats_per_Bar"]
    (0.667, 1.0, 0.0)
    """
    if not reference.beats.size:
        raise ParameterError("the reference has no beats to score against")
    with warnings.catch_warnings():
        # An empty estimate is a valid result.
        warnings.filterwarnings("ignore", module="mir_eval", message=".* empty")
        scores = {"F-measure": mir_eval.beat.f_measure(reference.beats, estimated.beats)}
        if reference.downbeats is not None and estimated.downbeats is not None:
            scores["Downbeat_F-measure"] = mir_eval.beat.f_measure(
                reference.downbeats, estimated.downbeats
            )
        levels = mir_eval.beat.continuity(reference.beats, estimated.beats)
    scores.update(zip(_LEVELS, levels, strict=True))
    counts = [_beats_per_bar(annotations) for annotations in (reference, estimated)]
    if counts[0] and estimated.downbeats is not None:
        scores["Beats_per_Bar"] = counts[0] == counts[1]
    if reference.keys and estimated.keys:
        ref, est = (
            _main_key(a.keys, a.beats[-1] if a.beats.size else 0.0) for a in (reference, estimated)
        )
        names = (key_name(key).replace("Cb", "B") for key in (ref, est))  # mir_eval has no Cb
        scores["Key_Weighted_Score"] = mir_eval.key.weighted_score(*names)
        scores["Key_Signature"] = (ref.fifths - est.fifths) % 12 == 0
    if reference.hands and estimated.hands:
        hands = _hands_score(reference.hands, estimated.hands)
        if hands is not None:
            scores["Hands"] = hands
    return {key: float(value) for key, value in scores.items()}


def evaluate_beat_files(
    reference: str | Path, estimate: str | Path, *, duration: float | None = None
) -> Evaluation:
    r"""Score the beats of a file against those of a file, or a folder against a folder.

    Of several files with one name, a text file is preferred as the reference, and MIDI as the
    estimate.

    Parameters
    ----------
    reference, estimate : str or Path
        Two files that :func:`~harmnmf.score.reading.annotations.read_annotations` reads, or two
        folders of them.
    duration : float, optional
        Seconds from the beginning to score.

    Returns
    -------
    Evaluation
        Its failures include pieces without an estimate and files that cannot be read.

    Raises
    ------
    FormatError
        If a path does not exist, or the folder of references has no files of beats.
    ParameterError
        If one path is a file and the other a folder, or the duration is not positive.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "song.txt")
    ...     _ = path.write_text("\n".join(str(beat) for beat in range(9)))
    ...     evaluate_beat_files(path, path).mean["F-measure"]
    1.0
    """
    end = np.inf if duration is None else duration
    check_number("duration", end, above=0, infinite=True)

    def score(ref_path: Path, est_path: Path) -> dict[str, float]:
        ref, est = (read_annotations(path).slice(end) for path in (ref_path, est_path))
        if not ref.beats.size:
            part = "" if duration is None else f" in its first {duration:g} s"
            raise FormatError(f"{ref_path}: this reference has no beats{part}")
        return evaluate_beats(ref, est)

    suffixes = BEAT_SUFFIXES + MIDI_SUFFIXES, MIDI_SUFFIXES + BEAT_SUFFIXES
    return evaluate_pairs(reference, estimate, score, suffixes=suffixes, kind="beat")


def evaluate_score(reference: Score, estimated: Score) -> dict[str, float]:
    """Evaluate a score against a reference.

    Parameters
    ----------
    reference, estimated : Score
        Ground truth and estimate.

    Returns
    -------
    dict of str to float
        Scores by name; the module's documentation explains the names.

    Raises
    ------
    ParameterError
        If the reference has no notes.

    Examples
    --------
    >>> from harmnmf.score.bars import Bars
    >>> from harmnmf.score.score import ScoreNotes
    >>> columns = [0], [480], [60], [1], [1], [0], [""]
    >>> notes = ScoreNotes(*(np.array(column) for column in columns))
    >>> score = Score(notes, Bars([[3, 4]]), (Key(0, 0),))
    >>> scores = evaluate_score(score, score)
    >>> scores["MV2H"], scores["Mean_Error_Rate"]
    (1.0, 0.0)
    """
    alignment = align_scores(reference, estimated)
    ref, est = (
        _main_key(
            tuple((float(score.bars.starts[key.bar]), key) for key in score.keys),
            float(score.bars.starts[-1]),
        )
        for score in (reference, estimated)
    )
    return {
        **mv2h(reference, estimated, alignment=alignment),
        **error_rates(reference, estimated, alignment=alignment),
        "Key_Signature": float((ref.fifths - est.fifths) % 12 == 0),
    }


def evaluate_score_files(reference: str | Path, estimate: str | Path) -> Evaluation:
    """Score a MusicXML file against another, or a folder against a folder.

    A reference with repeats is taken as it is printed, or with its repeats written out, whichever
    has a number of notes nearer to that of the estimate.

    Parameters
    ----------
    reference, estimate : str or Path
        Two files that :func:`~harmnmf.score.reading.musicxml.read_musicxml` reads, or two folders
        of them.

    Returns
    -------
    Evaluation
        Its failures include pieces without an estimate and files that cannot be read.

    Raises
    ------
    FormatError
        If a path does not exist, or the folder of references has no scores.
    ParameterError
        If one path is a file and the other a folder.
    """

    def score(ref_path: Path, est_path: Path) -> dict[str, float]:
        est = read_musicxml(est_path)
        printed, played = (read_musicxml(ref_path, unfold_repeats=x) for x in (False, True))
        ref = min(printed, played, key=lambda score: abs(len(score.notes) - len(est.notes)))
        if not (ref.notes.duration > 0).any():
            raise FormatError(f"{ref_path}: this reference has no notes")
        return evaluate_score(ref, est)

    suffixes = MUSICXML_SUFFIXES, MUSICXML_SUFFIXES
    return evaluate_pairs(reference, estimate, score, suffixes=suffixes, kind="MusicXML")


def _beats_per_bar(annotations: Annotations) -> int:
    """Most frequent number of beats in a bar; 0 if no bar is whole."""
    downbeats = annotations.downbeats
    if downbeats is None or downbeats.size < 2:
        return 0
    counts = np.diff(np.searchsorted(annotations.beats, downbeats - 1e-6))
    return int(np.bincount(counts).argmax())


def _main_key(keys: tuple[tuple[float, Key], ...], end: float) -> Key:
    """Key signature that holds longest."""
    starts = [start for start, _ in keys]
    durations: dict[tuple[int, str], float] = {}
    for (start, key), stop in zip(keys, [*starts[1:], max(end, starts[-1])], strict=True):
        name = key.fifths, key.mode
        durations[name] = durations.get(name, 0.0) + stop - start
    return Key(0, *max(durations, key=lambda name: durations[name]))


def _hands_score(
    reference: tuple[NoteList, NoteList], estimated: tuple[NoteList, NoteList]
) -> float | None:
    """Part of the matching notes that are in the correct hand, or None without any."""
    intervals, hz, hands = [], [], []
    for right, left in (reference, estimated):
        intervals.append(np.concatenate([right.intervals, left.intervals]))
        hz.append(np.concatenate([right.hz, left.hz]))
        hands.append(np.repeat([0, 1], [len(right), len(left)]))
    matches = np.array(
        mir_eval.transcription.match_notes(
            intervals[0], hz[0], intervals[1], hz[1], offset_ratio=None
        )
    )
    if not matches.size:
        return None
    is_correct: NDArray[np.bool_] = hands[0][matches[:, 0]] == hands[1][matches[:, 1]]
    return float(is_correct.mean())
