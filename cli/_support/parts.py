"""Parts of recordings: those that are kept or muted, and their files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harmnmf.errors import HarmnmfError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harmnmf.separation.groups import NoteGroups

_SHOWN = 12  # names, in messages
_PART = re.compile(r"(left|right|residual|\d+_.*)\.(wav|flac)")  # names of files


@dataclass(frozen=True)
class PartChoice:
    """Names of the parts that are kept, or of those that are muted."""

    keep: tuple[str, ...]
    mute: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.keep and self.mute:
            raise click.UsageError("--keep and --mute exclude each other")

    @property
    def names(self) -> tuple[str, ...]:
        """The names that were given."""
        return self.keep + self.mute

    def find(self, groups: Collection[str]) -> list[str]:
        """Find the groups of notes that are named, and perhaps the residual.

        Raises HarmnmfError if a name is neither of a group nor of the residual.
        """
        from harmnmf.separation.groups import RESIDUAL, find_groups

        known = [*groups, RESIDUAL]
        found = []
        for name in self.names:
            if not (meant := find_groups(known, name)):
                raise HarmnmfError(
                    f"there is no part {name!r} to keep or mute; the parts are {_listed(known)}"
                )
            found += meant
        return found

    def select(self, groups: NoteGroups) -> tuple[NDArray[np.int64], bool]:
        """Find the notes whose sound is kept, or (True) those whose sound is taken away.

        It is the latter if the residual is kept. Raises HarmnmfError as `find`.
        """
        import numpy as np

        from harmnmf.separation.groups import RESIDUAL

        kept = set(self.find(groups))
        if self.mute:
            kept = {*groups, RESIDUAL} - kept
        is_rest = RESIDUAL in kept
        chosen = [notes for name, notes in groups.items() if (name in kept) != is_rest]
        return np.sort(np.concatenate([np.zeros(0, np.int64), *chosen])), is_rest


def _listed(names: Sequence[str]) -> str:
    if len(names) > _SHOWN:
        names = [*names[:3], "...", *names[-3:]]
    return ", ".join(names)


@contextmanager
def replacing_parts(folder: Path) -> Iterator[None]:
    """Remove the parts of earlier runs that are in a folder and were not replaced by the block."""
    paths = folder.iterdir() if folder.exists() else []
    numbers = {path: path.stat().st_ino for path in paths if _PART.fullmatch(path.name)}
    yield
    for path, number in numbers.items():
        if path.stat().st_ino == number:
            path.unlink()
