"""Options and outputs of the commands that write scores."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harmnmf.errors import HarmnmfError, ParameterError

from .batch import named
from .options import Number

if TYPE_CHECKING:
    from harmnmf.notes.note_list import NoteList
    from harmnmf.score.bars import BeatGrid
    from harmnmf.score.score import Score

SCORE_FORMATS = ("musicxml", "svg", "pdf")
SLOWEST, FASTEST = 15, 400  # beats a minute
TEMPO = Number(SLOWEST, FASTEST)
_PACKAGES = {"svg": ("verovio",), "pdf": ("verovio", "typst")}


class _TimeSignature(click.ParamType):
    name = "time signature"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from harmnmf.score.bars import Bars

        if re.fullmatch(r"\d{1,3}/\d{1,3}", value) is None:
            self.fail(f"{value!r} is not a time signature; write one as 3/4 or 6/8", param, ctx)
        try:
            Bars([_time_signature(value)])
        except ParameterError as error:
            self.fail(str(error), param, ctx)
        return value


class _KeyName(click.ParamType):
    name = "key"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from harmnmf.score.key_names import parse_key

        try:
            parse_key(value)
        except ParameterError as error:
            self.fail(str(error), param, ctx)
        return value


class _Pitch(click.ParamType):
    name = "pitch"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from harmnmf.notes.pitch_names import parse_pitch

        try:
            return parse_pitch(value)
        except ParameterError as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True)
class ScoreOptions:
    """What is set of a score; the rest is found in the notes."""

    beats: str | None
    level: int
    time_signature: str | None
    pickup: float | None
    key: str | None
    split_pitch: int | None
    rubato: bool

    @property
    def is_default(self) -> bool:
        """Whether nothing is set."""
        return self == ScoreOptions(None, 0, None, None, None, None, True)

    def prepare(self) -> None:
        """Load the network that finds beats, or read the file that has them."""
        if self.beats is None:
            from harmnmf.score.from_notes import default_network

            default_network()
        else:
            from harmnmf.score.reading.beat_files import read_beats

            read_beats(self.beats)

    def find_beats(self, notes: NoteList, tempo: float | None, source: Path) -> BeatGrid:
        """Find the beats and bars of the notes of a file."""
        from harmnmf.score.from_notes import find_beats
        from harmnmf.score.reading.beat_files import read_beats

        signature = self.time_signature
        beats = None if self.beats is None else read_beats(self.beats)
        with named(source):
            return find_beats(
                notes,
                beats=beats,
                tempo=tempo,
                level=self.level,
                time_signature=None if signature is None else _time_signature(signature),
                pickup=self.pickup,
                rubato=self.rubato,
            )

    def transcribe(self, notes: NoteList, grid: BeatGrid, source: Path) -> Score:
        """Make a score of the notes of a file, which gives it its title."""
        from harmnmf.score.from_notes import transcribe_score

        title = click.format_filename(source.stem).replace("_", " ")
        with named(source):
            return transcribe_score(
                notes, title=title, beats=grid, key=self.key, split_pitch=self.split_pitch
            )


def score_options(*, hidden: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options of `ScoreOptions` to a command, which gets them as `score`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def with_score(*args: Any, **options: Any) -> Any:
            double, half = options.pop("double_time"), options.pop("half_time")
            if double and half:
                raise click.UsageError("--double-time and --half-time exclude each other")
            options["level"] = double - half
            values = {field.name: options.pop(field.name) for field in fields(ScoreOptions)}
            return command(*args, score=ScoreOptions(**values), **options)

        for option in reversed(_options(hidden=hidden)):
            with_score = option(with_score)
        return with_score

    return decorate


def _options(*, hidden: bool) -> list[Callable[[Callable[..., Any]], Callable[..., Any]]]:
    return [
        click.option(
            "--time-signature",
            type=_TimeSignature(),
            metavar="N/N",
            hidden=hidden,
            help="Time signature of all bars, such as 3/4 or 6/8.",
        ),
        click.option(
            "--pickup",
            type=Number(min=0),
            metavar="BEATS",
            hidden=hidden,
            help="Beats before the first whole bar; 0 if it begins with the first note.",
        ),
        click.option(
            "--double-time",
            is_flag=True,
            hidden=hidden,
            help="Write twice as many beats, where the beats were found too slow.",
        ),
        click.option(
            "--half-time",
            is_flag=True,
            hidden=hidden,
            help="Write half as many beats, where the beats were found too fast.",
        ),
        click.option(
            "--beats",
            type=click.Path(readable=False),
            metavar="FILE",
            hidden=hidden,
            help="Text file with the time of each beat in seconds, one a line, and optionally its "
            "number in the bar: 1 begins a bar. For one recording.",
        ),
        click.option(
            "--no-rubato",
            "rubato",
            is_flag=True,
            flag_value=False,
            default=True,
            show_default=False,
            hidden=hidden,
            help="One tempo throughout, for recordings to a metronome or a drum machine.",
        ),
        click.option(
            "--key",
            type=_KeyName(),
            metavar="KEY",
            hidden=hidden,
            help='Key of the whole piece, such as "Eb major", "F# minor" or Am.',
        ),
        click.option(
            "--split-pitch",
            type=_Pitch(),
            metavar="NOTE",
            hidden=hidden,
            help="Lowest note of the right hand, such as C4; all below are of the left.",
        ),
    ]


def check_score(
    score: ScoreOptions, tempo: float | None, formats: Iterable[str], n_inputs: int
) -> None:
    """Check options and formats against each other.

    Raises click.UsageError if options contradict, and HarmnmfError if a format needs a package.
    """
    if score.beats is not None:
        if tempo is not None or score.level or not score.rubato:
            raise click.UsageError(
                "--beats says where the beats are; leave out --tempo, --double-time, --half-time "
                "and --no-rubato"
            )
        if n_inputs > 1:
            raise click.UsageError(f"--beats is for one recording, and there are {n_inputs}")
    for name in formats:
        for package in _PACKAGES.get(name, ()):
            if importlib.util.find_spec(package) is None:
                raise HarmnmfError(
                    f"{name} needs the package {package}: pip install 'harmnmf[score]', or choose "
                    "musicxml, which score programs open"
                )


def write_score(path: Path, score: Score) -> None:
    """Write a score in the format that the suffix of the path names."""
    suffix = path.suffix.lower()
    if suffix == ".musicxml":
        from harmnmf.score.engraving.musicxml import write_musicxml

        write_musicxml(path, score)
    elif suffix == ".svg":
        from harmnmf.score.engraving.pages import write_svg

        write_svg(path, score)
    elif suffix == ".pdf":
        from harmnmf.score.engraving.pages import write_pdf

        write_pdf(path, score)
    elif suffix == ".json":
        from harmnmf.score.engraving.score_json import write_score_json

        write_score_json(path, score)
    else:
        from harmnmf.score.engraving.score_midi import write_score_midi

        write_score_midi(path, score)


def describe_score(score: Score, grid: BeatGrid) -> str:
    """Describe bars, metre, key and tempo in a few words, so that a wrong guess is seen."""
    import numpy as np

    from harmnmf.score.key_names import key_name

    bars = score.bars
    signatures = Counter(map(tuple, bars.time_signatures.tolist())).most_common()
    (numerator, denominator), _ = signatures[0]
    most = "mostly " if len(signatures) > 1 else ""
    pickup = " with a pickup" if bars.pickup else ""
    tempo = 60 / np.median(np.diff(grid.time))
    return (
        f"{len(bars)} bar{'s' * (len(bars) != 1)} of {most}{numerator}/{denominator}{pickup}, "
        f"{key_name(score.keys[0])}{' at first' * (len(score.keys) > 1)}, about {tempo:.0f} bpm"
    )


def _time_signature(text: str) -> tuple[int, int]:
    numerator, denominator = map(int, text.split("/"))
    return numerator, denominator
