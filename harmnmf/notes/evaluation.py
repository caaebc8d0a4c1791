"""Evaluation of transcriptions with mir_eval, whose names the scores keep.

Conventions
-----------
*Notes.* `Precision`, `Recall`, `F-measure` and `Average_Overlap_Ratio` compare onset, pitch and
offset; with the suffix `_no_offset`, onset and pitch only: the usual "onset-only note F". `Onset_*`
and `Offset_*` are mir_eval's names for times regardless of pitch. The tolerance is 50 ms for
onsets, and 50 ms or a fifth of the reference note's duration for offsets.

*Velocity.* `Velocity_` before a key of :func:`mir_eval.transcription_velocity.evaluate`: a note
must also have the right velocity, after a linear fit of estimated to reference velocities.

*Frames.* `Frame_` before a key of :func:`mir_eval.multipitch.evaluate`. A note sounds in frame k
when ``onset <= 10 ms * k < offset``. Counts are summed over the frames of a piece.
`Frame_F-measure`, which mir_eval lacks, is the harmonic mean of precision and recall. The counts
come from piano rolls: for whole semitones they equal mir_eval's, hundreds of times faster.

*Means* are over pieces with equal weights. An empty estimate scores 0; an empty reference is an
error, since it has no recall.

mir_eval compares all pairs of notes: 10 000 notes take 3 GB and 10 s.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import mir_eval
import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import FormatError, ParameterError
from harmnmf.validation import check_number

from .event_lines import is_event_lines
from .files import read_notes
from .note_list import NoteList
from .pairing import Evaluation, evaluate_pairs
from .suffixes import EVENT_SUFFIXES, MIDI_SUFFIXES, TABLE_SUFFIXES
from .tables import is_table

__all__ = ["Evaluation", "evaluate_files", "evaluate_notes"]

_FRAMES_PER_SECOND = 100
_FRAME_KEYS = (
    *("Precision", "Recall", "Accuracy"),
    *("Substitution Error", "Miss Error", "False Alarm Error", "Total Error"),
)


def evaluate_notes(
    reference: NoteList,
    estimated: NoteList,
    *,
    onset_tolerance: float = 0.05,
    offset_ratio: float = 0.2,
) -> dict[str, float]:
    """Score a transcription against a reference.

    Parameters
    ----------
    reference, estimated : NoteList
        Ground truth and transcription.
    onset_tolerance : float, default=0.05
        Largest difference in seconds between the onsets of matching notes.
    offset_ratio : float, default=0.2
        Largest difference between their offsets, as a fraction of the duration of the reference
        note; 50 ms if that is less.

    Returns
    -------
    dict of str to float
        Scores by name; the module's documentation explains the names.

    Raises
    ------
    ParameterError
        If `reference` is empty, or a tolerance is not positive.

    Examples
    --------
    >>> reference = NoteList([0, 1], [1, 2], [60, 64], [70, 80])
    >>> estimated = NoteList([0.01], [1], [60], [50])
    >>> scores = evaluate_notes(reference, estimated)
    >>> scores["Precision_no_offset"], scores["Recall_no_offset"], scores["Frame_Recall"]
    (1.0, 0.5, 0.495)
    """
    if len(reference) == 0:
        raise ParameterError("the reference has no notes to score against")
    check_number("onset_tolerance", onset_tolerance, above=0)
    check_number("offset_ratio", offset_ratio, above=0)
    tolerances = {"onset_tolerance": onset_tolerance, "offset_ratio": offset_ratio}
    ref, est = (reference.intervals, reference.hz), (estimated.intervals, estimated.hz)
    with warnings.catch_warnings():
        # An empty transcription is a valid result.
        warnings.filterwarnings("ignore", module="mir_eval", message=".* are (all )?empty")
        notes = mir_eval.transcription.evaluate(*ref, *est, **tolerances)
        velocity = mir_eval.transcription_velocity.evaluate(
            *ref, reference.velocity, *est, estimated.velocity, **tolerances
        )
        frames = _frame_scores(reference, estimated)
    scores = {
        **notes,
        **{f"Velocity_{key}": value for key, value in velocity.items()},
        **{f"Frame_{key}": value for key, value in frames.items()},
    }
    return {key: float(value) for key, value in scores.items()}


def evaluate_files(
    reference: str | Path,
    estimate: str | Path,
    *,
    duration: float | None = None,
    offset: str = "pedal",
    onset_tolerance: float = 0.05,
    offset_ratio: float = 0.2,
) -> Evaluation:
    """Score a file against a file, or a folder against a folder.

    In folders, files are paired by their paths below the folder without suffix; text files that do
    not begin like a table of notes are not counted, nor are ``.jsonl`` files without events. Of
    several files with one name, a table is preferred as the reference and MIDI as the estimate.
    Both folders may be the same: a file is never paired with itself.

    Parameters
    ----------
    reference, estimate : str or Path
        Two files that :func:`harmnmf.read_notes` reads, or two folders of them.
    duration : float, optional
        Seconds from the beginning to score: later notes are ignored, longer ones cut.
    offset : {"pedal", "key"}
        As in :func:`harmnmf.read_notes`.
    onset_tolerance, offset_ratio : float
        As in :func:`evaluate_notes`.

    Returns
    -------
    Evaluation
        Its failures include pieces without an estimate and files that cannot be read.

    Raises
    ------
    FormatError
        If a path does not exist, or the folder of references has no note files.
    ParameterError
        If one path is a file and the other a folder, or an option is out of range.

    Examples
    --------
    >>> import tempfile
    >>> from harmnmf import write_midi
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "song.mid")
    ...     write_midi(path, NoteList([0.5], [1.0], [60], [70]))
    ...     evaluate_files(path, path).mean["F-measure"]
    1.0
    """
    if duration is not None:
        check_number("duration", duration, above=0, infinite=True)

    def score(ref_path: Path, est_path: Path) -> dict[str, float]:
        ref, est = read_notes(ref_path, offset=offset), read_notes(est_path, offset=offset)
        if duration is not None:
            ref, est = ref.slice(0, duration), est.slice(0, duration)
        if len(ref) == 0:
            part = "" if duration is None else f" in its first {duration:g} s"
            raise FormatError(f"{ref_path}: this reference has no notes{part}")
        return evaluate_notes(ref, est, onset_tolerance=onset_tolerance, offset_ratio=offset_ratio)

    return evaluate_pairs(
        *(reference, estimate, score),
        suffixes=(
            TABLE_SUFFIXES + MIDI_SUFFIXES + EVENT_SUFFIXES,
            MIDI_SUFFIXES + TABLE_SUFFIXES + EVENT_SUFFIXES,
        ),
        kind="note",
        is_counted=_is_counted,
    )


def _is_counted(path: Path) -> bool:
    """Whether a file of a folder, which may be a log or a text, has notes."""
    suffix = path.suffix.lower()
    if suffix in EVENT_SUFFIXES:
        return is_event_lines(path)
    return suffix != ".txt" or is_table(path)


def _frame_scores(reference: NoteList, estimated: NoteList) -> dict[str, float]:
    both = (reference, estimated)
    times = np.concatenate([time for notes in both for time in (notes.onset, notes.offset)])
    # Frames between two changes are equal: one of them is weighted by their number, so that absurd
    # times in a damaged file cost nothing.
    changes = np.unique(_first_frame(times))
    weight = np.diff(changes)
    ref, est = (_piano_roll(notes, changes) for notes in both)
    # Two estimates an octave apart match two references of their pitch class.
    hits, chroma_hits = (ref & est), np.minimum(_chroma(ref), _chroma(est))
    n_ref, n_est = weight * ref.sum(axis=0), weight * est.sum(axis=0)
    scores = {}
    for prefix, matches in (("", hits), ("Chroma ", chroma_hits)):
        counts = weight * matches.sum(axis=0), n_ref, n_est
        accuracy = mir_eval.multipitch.compute_accuracy(*counts)
        errors = mir_eval.multipitch.compute_err_score(*counts)
        for key, value in zip(_FRAME_KEYS, (*accuracy, *errors), strict=True):
            scores[prefix + key] = value
    scores["F-measure"] = mir_eval.util.f_measure(scores["Precision"], scores["Recall"])
    return scores


def _first_frame(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """First frame at or after a time; rounding makes 0.07 s * 100 exactly 7."""
    return np.ceil(np.round(seconds * _FRAMES_PER_SECOND, 6))


def _piano_roll(notes: NoteList, changes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Piano roll between changes, True where a pitch sounds, shape (128, n_changes - 1)."""
    steps = np.zeros((128, len(changes)), dtype=np.int64)
    for times, step in ((notes.onset, 1), (notes.offset, -1)):
        np.add.at(steps, (notes.pitch, np.searchsorted(changes, _first_frame(times))), step)
    return np.cumsum(steps, axis=1)[:, :-1] > 0


def _chroma(roll: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the sounding pitches of each pitch class, shape (12, n_changes - 1)."""
    return np.stack([roll[c::12].sum(axis=0) for c in range(12)])
