"""Order of the recorded layers of a piano key, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["layer_ranks"]

_SOFT_TO_LOUD = (
    ("ppp", "pp", "p", "mp", "mf", "f", "ff", "fff"),
    ("soft", "medium", "loud"),
    ("l", "m", "h"),
)


def layer_ranks(names: Sequence[str]) -> Sequence[float] | None:
    """Rank the layers of a key from soft to loud, or return None if their names do not tell.

    Names, in either case, are dynamics; soft, medium and loud; L, M and H; or differ in a number.

    Examples
    --------
    >>> layer_ranks(["FF", "mf"]), layer_ranks(["v096", "v030"]), layer_ranks(["a", "b"])
    ([6, 4], [96, 30], None)
    """
    names = [name.lower() for name in names]
    for order in _SOFT_TO_LOUD:
        if set(names) <= set(order):
            return [order.index(name) for name in names]
    parts = [part for name in names if (part := re.fullmatch(r"(\D*)(\d+)(\D*)", name))]
    if len(parts) == len(names) and len({(part[1], part[3]) for part in parts}) == 1:
        return [int(part[2]) for part in parts]
    return None
