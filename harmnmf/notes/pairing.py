"""Pair the files of references and estimates, and score each pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harmnmf.errors import FormatError, HarmnmfError, ParameterError

__all__ = ["Evaluation", "evaluate_pairs"]


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set of pieces.

    Parameters
    ----------
    pieces : dict of str to dict of str to float
        Scores by piece: the path of its reference, without suffix.
    failures : dict of str to str
        Error message of each piece that could not be scored.
    unused : list of Path
        Estimates without a reference.

    Examples
    --------
    >>> Evaluation({"a": {"Recall": 1.0}, "b": {"Recall": 0.5}}, {}, []).mean
    {'Recall': 0.75}
    """

    pieces: dict[str, dict[str, float]]
    failures: dict[str, str]
    unused: list[Path]

    @property
    def mean(self) -> dict[str, float]:
        """Mean of each score over the pieces that have it; empty without pieces."""
        values: dict[str, list[float]] = {}
        for scores in self.pieces.values():
            for key, value in scores.items():
                values.setdefault(key, []).append(value)
        return {key: sum(scores) / len(scores) for key, scores in values.items()}


def evaluate_pairs(
    reference: str | Path,
    estimate: str | Path,
    score: Callable[[Path, Path], dict[str, float]],
    *,
    suffixes: tuple[tuple[str, ...], tuple[str, ...]],
    kind: str,
    is_counted: Callable[[Path], bool] = lambda path: True,
) -> Evaluation:
    """Score a file against a file, or a folder against a folder.

    In folders, files are paired by their paths below the folder without suffix, which may be
    double as that of ``song.beats.tsv``. Both folders may be the same: a file is never paired with
    itself.

    Parameters
    ----------
    reference, estimate : str or Path
        Two files, or two folders.
    score : callable
        Function of the paths of a reference and an estimate that returns scores by name.
    suffixes : tuple of two tuples of str
        Suffixes of references and of estimates in folders; of several files with one name the
        first suffix is preferred.
    kind : str
        What the files have, as "note", for messages.
    is_counted : callable
        Function of a path that says whether a file with one of the suffixes is of the kind.

    Returns
    -------
    Evaluation
        Its failures include pieces without an estimate and files that cannot be read.

    Raises
    ------
    FormatError
        If a path does not exist, or the folder of references has no files of the kind.
    ParameterError
        If one path is a file and the other a folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a.txt", "b.txt"):
    ...         _ = Path(folder, name).write_text(name)
    ...     evaluate_pairs(
    ...         Path(folder, "a.txt"), Path(folder, "b.txt"), lambda a, b: {"Same": a == b},
    ...         suffixes=((".txt",), (".txt",)), kind="text",
    ...     ).mean
    {'Same': 0.0}
    """
    reference, estimate = Path(reference), Path(estimate)
    for path in (reference, estimate):
        if not path.exists():
            raise FormatError(f"{path}: no such file or folder")
    if reference.is_dir() != estimate.is_dir():
        raise ParameterError(
            f"{reference} and {estimate} must be two files or two folders, not one of each"
        )
    if reference.is_file():
        pairs: dict[str, tuple[Path, Path | None]] = {_name(reference): (reference, estimate)}
        unused: list[Path] = []
    else:
        references, estimates = (
            _files_by_name(folder, order, is_counted)
            for folder, order in zip((reference, estimate), suffixes, strict=True)
        )
        if not references:
            raise FormatError(f"{reference}: no {kind} files in this folder")
        pairs = {}
        for name, (ref_path, *_) in references.items():
            others = [path for path in estimates.get(name, []) if not path.samefile(ref_path)]
            pairs[name] = ref_path, (others[0] if others else None)
        unused = [paths[0] for name, paths in estimates.items() if name not in references]
    pieces, failures = {}, {}
    for name, (ref_path, est_path) in pairs.items():
        if est_path is None:
            failures[name] = f"{ref_path}: no estimate for this reference in {estimate}"
            continue
        try:
            pieces[name] = score(ref_path, est_path)
        except ParameterError:
            raise
        except HarmnmfError as error:
            failures[name] = str(error)
    return Evaluation(pieces, failures, unused)


def _files_by_name(
    folder: Path, suffixes: tuple[str, ...], is_counted: Callable[[Path], bool]
) -> dict[str, list[Path]]:
    """Files by name, those of one name in the order of `suffixes`."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        suffix = path.suffix.lower()
        if suffix not in suffixes or not path.is_file() or path.name.startswith("."):
            continue
        if is_counted(path):
            name = path.relative_to(folder).with_name(_name(path)).as_posix()
            found.setdefault(name, []).append(path)
    for paths in found.values():
        paths.sort(key=lambda path: suffixes.index(path.suffix.lower()))
    return found


def _name(path: Path) -> str:
    """Name of a file without suffix; annotations of beats are often named ``song.beats.tsv``."""
    return path.stem.removesuffix(".beats")
