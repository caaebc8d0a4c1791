"""Beams of the notes of a bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harmnmf.score.bars import TICKS

from .rhythm import Metre, Symbol

__all__ = ["add_beams"]

_EIGHTH = TICKS // 2


def add_beams(metre: Metre, symbols: Sequence[Symbol]) -> list[Symbol]:
    """Join the notes of each group by beams; rests between them do not break a beam.

    Parameters
    ----------
    metre : Metre
        Metre of the bar.
    symbols : sequence of Symbol
        Symbols of a voice in the bar.

    Returns
    -------
    list of Symbol
        The same with beams.

    Examples
    --------
    >>> from harmnmf.score.engraving.rhythm import Segment, divide_bar, write_rhythm
    >>> metre = divide_bar(2, 4)
    >>> symbols = write_rhythm(metre, [Segment(0, 240, (0,)), Segment(240, 480, (1,))])
    >>> [symbol.beams for symbol in add_beams(metre, symbols)]
    [('begin',), ('end',)]
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, symbol in enumerate(symbols):
        groups.setdefault(_group(metre, symbol), []).append(i)
    written = [*symbols]
    for members in groups.values():
        joined: list[list[int]] = [[]]
        for i in members:
            symbol = symbols[i]
            if symbol.notes and symbol.kind <= _EIGHTH:
                joined[-1].append(i)
            elif symbol.notes or symbol.kind > _EIGHTH or symbol.is_hidden:
                joined.append([])
        for chords in joined:
            for i, beams in zip(chords, _beams([symbols[i] for i in chords]), strict=True):
                written[i] = replace(symbols[i], beams=beams)
    return written


def _group(metre: Metre, symbol: Symbol) -> tuple[int, ...]:
    """Find the group of beams of a symbol."""
    tuplet = symbol.tuplet
    if tuplet is not None and tuplet.end - tuplet.start > metre.beat:
        scale = tuplet.actual / tuplet.normal
        return tuplet.start, int((symbol.start - tuplet.start) * scale) // max(tuplet.unit, TICKS)
    return (max(place for place in metre.groups if place <= symbol.start),)


def _beams(chords: Sequence[Symbol]) -> Iterator[tuple[str, ...]]:
    """Beams of chords that are joined; none if there is only one."""
    counts = [(_EIGHTH // chord.kind).bit_length() for chord in chords]
    for i, count in enumerate(counts):
        beams = []
        for level in range(1, count + 1):
            before = i > 0 and counts[i - 1] >= level
            after = i < len(counts) - 1 and counts[i + 1] >= level
            if before or after:
                beams.append("continue" if before and after else "end" if before else "begin")
            elif len(counts) > 1:
                # A hook points to the note whose rest of a beat it takes.
                forward = i == 0 or (i < len(counts) - 1 and _is_strong(chords[i]))
                beams.append("forward hook" if forward else "backward hook")
        yield tuple(beams)


def _is_strong(chord: Symbol) -> bool:
    return chord.start % (2 * chord.kind) == 0
