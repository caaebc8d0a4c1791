"""Note values, ties, dots and tuplets of the notes of a bar.

The rules are those of engravers (Gould, Behind Bars, 2011): a note is written as one value if the
beats it passes over stay visible, or else as several that are tied; rests show every beat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from harmnmf.score.bars import TICKS, bar_duration, beat_duration

__all__ = ["Metre", "Segment", "Symbol", "Tuplet", "divide_bar", "write_rhythm"]

_SHORTEST = TICKS // 32  # a 128th
_KINDS = tuple(_SHORTEST * 2**k for k in range(10))  # up to a breve and a longa
_TUPLETS = (3, 5, 7, 9, 11, 13)


@dataclass(frozen=True)
class Span:
    """A stretch of a bar, and the parts that its metre divides it into."""

    start: int
    end: int
    parts: tuple[Span, ...]

    @property
    def duration(self) -> int:
        """Ticks."""
        return self.end - self.start


@dataclass(frozen=True)
class Metre:
    """How a time signature divides a bar.

    Parameters
    ----------
    bar : Span
        The bar, from position 0.
    beat : int
        Ticks of a beat.
    strength : dict of int to int
        For each position in the bar the ticks of the longest part that begins there; the end of the
        bar is as strong as its start.
    groups : tuple of int
        Positions at which beams end.
    """

    bar: Span
    beat: int
    strength: dict[int, int]
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Segment:
    """Notes of a chord that begin and end in a bar or at its bar lines; without notes, silence."""

    start: int
    end: int
    notes: tuple[int, ...] = ()
    tied_from: bool = False
    tied_to: bool = False


@dataclass(frozen=True)
class Tuplet:
    """A stretch in which `actual` notes have the time of `normal`."""

    start: int
    end: int
    actual: int
    normal: int

    @property
    def unit(self) -> int:
        """Written ticks of each of the notes."""
        return (self.end - self.start) // self.normal

    def shift(self, ticks: int) -> Tuplet:
        """Move it."""
        return replace(self, start=self.start + ticks, end=self.end + ticks)


@dataclass(frozen=True)
class Symbol:
    """A written chord or rest.

    Parameters
    ----------
    start, end : int
        Positions in ticks from the start of the bar.
    kind : int
        Ticks of the value as written without dots: 480 for a quarter; 0 for the rest of a bar.
    dots : int
        Dots.
    notes : tuple of int
        Indices of the notes; none for a rest.
    tied_from, tied_to : bool
        Whether the notes are tied to the symbol before and to the next.
    tuplet : Tuplet, optional
        The tuplet it belongs to.
    beams : tuple of str
        For each beam, the longest first: "begin", "continue", "end", "forward hook" or
        "backward hook".
    is_grace, is_hidden : bool
        Whether it is a grace note, and whether it is a rest that only fills time.
    """

    start: int
    end: int
    kind: int
    dots: int = 0
    notes: tuple[int, ...] = ()
    tied_from: bool = False
    tied_to: bool = False
    tuplet: Tuplet | None = None
    beams: tuple[str, ...] = field(default=())
    is_grace: bool = False
    is_hidden: bool = False


@lru_cache
def divide_bar(numerator: int, denominator: int) -> Metre:
    """Divide a bar by its time signature.

    Examples
    --------
    >>> divide_bar(6, 8).strength[720], divide_bar(6, 8).groups
    (720, (0, 720))
    """
    unit, beat = 4 * TICKS // denominator, beat_duration(numerator, denominator)
    return _metre(_divide(0, bar_duration(numerator, denominator), beat, unit), beat, unit)


def _metre(bar: Span, beat: int, unit: int) -> Metre:
    strength = {bar.end: bar.duration}
    groups = []
    spans = [bar]
    for span in spans:  # grows: long spans before their parts
        strength.setdefault(span.start, span.duration)
        spans += span.parts
        is_group = (
            span.duration == min(unit, 2 * TICKS)
            if unit >= TICKS
            else any(part.duration == unit for part in span.parts)
        )
        if is_group:
            groups.append(span.start)
    return Metre(bar, beat, strength, tuple(sorted(groups)) or (0,))


def _divide(start: int, end: int, *units: int) -> Span:
    """Divide into the first of the units that is shorter, and that by the next; then into halves.

    An odd number of units, such as 5 or 7, makes a longer and a shorter group.
    """
    duration = end - start
    unit = next((unit for unit in units if unit < duration), 0)
    if unit:
        n = duration // unit
        sizes = [n // 2] * 2 if n % 2 == 0 else [n // 3] * 3 if n % 3 == 0 else [n // 2 + 1, n // 2]
    elif duration % (2 * _SHORTEST):
        return Span(start, end, ())
    else:
        unit, sizes = duration // 2, [1, 1]
    parts = []
    for size in sizes:
        parts.append(_divide(start, start + size * unit, *units))
        start += size * unit
    return Span(parts[0].start, end, tuple(parts))


def write_rhythm(
    metre: Metre, segments: Sequence[Segment], *, hide_rests: bool = False
) -> list[Symbol]:
    """Write the segments of a voice as symbols.

    Positions that neither the metre nor a tuplet has are written as the nearest value.

    Parameters
    ----------
    metre : Metre
        Metre of the bar.
    segments : sequence of Segment
        Chords and rests that fill the bar, or the end of it for a pickup.
    hide_rests : bool, default=False
        Hide the rests that are not in tuplets.

    Returns
    -------
    list of Symbol
        In order, without beams.

    Examples
    --------
    >>> [(s.kind, s.dots) for s in write_rhythm(divide_bar(4, 4), [Segment(0, 1200, (0,))])]
    [(960, 0), (240, 0)]
    """
    cuts = {0, *(segment.start for segment in segments), metre.bar.end}
    tuplets = _tuplets(metre, metre.bar, cuts)
    symbols = []
    for segment in segments:
        pieces = [*_pieces(metre, segment, tuplets)]
        for i, piece in enumerate(pieces):
            is_note = bool(segment.notes)
            symbols.append(
                replace(
                    piece,
                    notes=segment.notes,
                    tied_from=is_note and (segment.tied_from or i > 0),
                    tied_to=is_note and (segment.tied_to or i < len(pieces) - 1),
                    is_hidden=hide_rests and not is_note and piece.tuplet is None,
                )
            )
    return symbols


def _tuplets(metre: Metre, span: Span, cuts: set[int]) -> list[Tuplet]:
    """Find the tuplets of a span: as short as they can be without cutting notes."""
    inner = [cut for cut in cuts if span.start < cut < span.end]
    is_long = span.duration > metre.beat
    if not is_long and (special := _divided_beat(metre, span, inner)):
        return [special]
    if not inner or (not is_long and all(cut in metre.strength for cut in inner)):
        return []
    if not all(_is_free(metre, part.start, cuts) for part in span.parts[1:]) or not span.parts:
        # A tuplet of several beats has whole units only: others are read more easily by beats.
        for factor in (1,) if is_long else (1, 2):
            for n in _TUPLETS:
                # Nine in three beats are three triplets.
                is_own = not span.parts or n % len(span.parts) > 0
                if is_own and (normal := _normal(span, n)) and _fits(span, n, factor, inner):
                    return [Tuplet(span.start, span.end, n, normal)]
    return [tuplet for part in span.parts for tuplet in _tuplets(metre, part, cuts)]


def _divided_beat(metre: Metre, span: Span, inner: Sequence[int]) -> Tuplet | None:
    """Tuplet of notes that could be written otherwise, but are read more easily so."""
    n, duration = len(span.parts), span.duration
    places = {place - span.start for place in inner}
    if n == 3 and duration == metre.beat and {duration // 4, duration * 3 // 4} <= places:
        return Tuplet(span.start, span.end, 4, 3) if _fits(span, 4, 1, inner) else None
    if n == 2 and duration % 6 == 0 and _fits(span, 6, 1, inner):
        sixth = duration // 6
        if {2 * sixth, 4 * sixth} <= places and len(places) < 5:
            return Tuplet(span.start, span.end, 3, 2)
        if places & {sixth, 2 * sixth} and places & {4 * sixth, 5 * sixth}:
            return Tuplet(span.start, span.end, 6, 4)
    return None


def _is_free(metre: Metre, place: int, cuts: set[int]) -> bool:
    """Whether no note passes over a place, or one that can be tied there: its ends are regular."""
    ends = max(cut for cut in cuts if cut <= place), min(cut for cut in cuts if cut >= place)
    return place in ends or all(end in metre.strength for end in ends)


def _fits(span: Span, n: int, factor: int, positions: Sequence[int]) -> bool:
    """Whether positions lie on n equal parts of a span, each divided by a factor."""
    step = span.duration / (n * factor)
    return all(
        abs(round((position - span.start) / step) * step - (position - span.start)) <= 0.5
        for position in positions
    )


def _normal(span: Span, n: int) -> int:
    """How many notes of one value fill a span; the most that are less than n, or 0."""
    for normal in range(n - 1, 1, -1):
        if span.duration % normal == 0 and span.duration // normal in _KINDS:
            return normal
    return 0


def _pieces(metre: Metre, segment: Segment, tuplets: Sequence[Tuplet]) -> Iterator[Symbol]:
    """Divide a segment at the tuplets it meets, and each part into values."""
    start, is_rest = segment.start, not segment.notes
    for tuplet in tuplets:
        if tuplet.end <= start or tuplet.start >= segment.end:
            continue
        if start < tuplet.start:
            yield from _values(metre, start, tuplet.start, is_rest)
            start = tuplet.start
        end = min(tuplet.end, segment.end)
        inner = _tuplet_metre(tuplet.actual, tuplet.unit)
        scale = inner.bar.end / (tuplet.end - tuplet.start)
        left, right = (_nearest((x - tuplet.start) * scale) for x in (start, end))
        for value in _values(inner, left, right, is_rest):
            first, last = (tuplet.start + round(x / scale) for x in (value.start, value.end))
            first = start if value.start == left else first
            last = end if value.end == right else last
            yield replace(value, start=first, end=last, tuplet=tuplet)
        start = end
    if start < segment.end:
        yield from _values(metre, start, segment.end, is_rest)


@lru_cache
def _tuplet_metre(n: int, unit: int) -> Metre:
    return _metre(_divide(0, n * unit, unit), n * unit, unit)


def _nearest(ticks: float) -> int:
    return round(ticks / _SHORTEST) * _SHORTEST


def _values(metre: Metre, start: int, end: int, is_rest: bool) -> Iterator[Symbol]:
    """Divide a note or a rest into values."""
    spans = _rest_spans(metre.bar, start, end) if is_rest else _note_spans(metre, start, end)
    for left, right in [*spans] or [(start, end)]:
        kind, dots = _value(right - left) or _nearest_value(right - left)
        yield Symbol(left, right, kind, dots)


def _value(ticks: int) -> tuple[int, int] | None:
    """Value and dots of a duration, if it has one."""
    for dots in (0, 1, 2):
        kind, rest = divmod(ticks * 2**dots, 2 ** (dots + 1) - 1)
        if not rest and kind in _KINDS:
            return kind, dots
    return None


def _nearest_value(ticks: int) -> tuple[int, int]:
    return min(_KINDS, key=lambda kind: abs(kind - ticks)), 0


def _rest_spans(span: Span, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Parts of the metre that a rest fills, the longest that have a value."""
    start, end = max(start, span.start), min(end, span.end)
    if start >= end:
        return
    is_whole = (start, end) == (span.start, span.end)
    if not span.parts or (is_whole and _value(span.duration)):
        yield start, end
        return
    for part in span.parts:
        yield from _rest_spans(part, start, end)


def _note_spans(metre: Metre, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Divide a note that has no single value, or that would hide a beat, at the strongest place."""
    inside = [place for place in metre.strength if start < place < end]
    if not inside or _is_plain(metre, start, end):
        yield start, end
        return
    strongest = max(metre.strength[place] for place in inside)
    places = sorted(place for place in inside if metre.strength[place] == strongest)
    cut = places[0]
    if metre.strength.get(start, 0) >= strongest:
        cut = next((p for p in reversed(places) if _is_plain(metre, start, p)), cut)
    yield from _note_spans(metre, start, cut)
    yield from _note_spans(metre, cut, end)


def _is_plain(metre: Metre, start: int, end: int) -> bool:
    """Whether a note can be one symbol: it has a value, and hides no stronger place than its own.

    Short, long, short is read easily, too, and its long note passes over a place twice as strong.
    """
    if (value := _value(end - start)) is None:
        return False
    kind, dots = value
    own, following = (metre.strength.get(place, 0) for place in (start, end))
    if dots == 2 and (own < 2 * kind or kind > TICKS):
        return False
    over = max((s for place, s in metre.strength.items() if start < place < end), default=0)
    if metre.beat not in _KINDS and over >= metre.beat:
        return min(own, following) >= metre.beat
    return over <= max(own, following) or 2 * own == over == end - start
