"""`harmnmf dictionary`: list, show and plot timbre dictionaries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harmnmf.cli._support.options import PATH, overwrite_option
from harmnmf.cli._support.paths import check_output
from harmnmf.errors import ParameterError

if TYPE_CHECKING:
    from harmnmf.dictionary.timbre_dictionary import TimbreDictionary


def _parse_pitch(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    from harmnmf.notes.pitch_names import parse_pitch

    try:
        return None if value is None else parse_pitch(value)
    except ParameterError as error:
        raise click.BadParameter(str(error)) from error


@click.group()
def command() -> None:
    """List, show and plot timbre dictionaries."""


@command.command("list")
def list_() -> None:
    """List the installed dictionaries."""
    from harmnmf.dictionary.timbre_dictionary import TimbreDictionary, shipped_dictionaries

    rows = [("name", "keys", "timbres", "size", "about")]
    for name, path in shipped_dictionaries().items():
        dictionary = TimbreDictionary.load(name)
        _, n_pitches, n_timbres = dictionary.W.shape
        about = _text(dictionary.metadata.get("about", ""))
        rows.append((name, str(n_pitches), str(n_timbres), _size(path), about))
    click.echo(_aligned(rows))


@command.command()
@click.argument("dictionary", metavar="NAME|FILE")
def show(dictionary: str) -> None:
    """Show the keys, tuning, timbres, front end and metadata of a dictionary."""
    from harmnmf.dictionary.timbre_dictionary import TimbreDictionary

    loaded = TimbreDictionary.load(dictionary)
    path = _path(dictionary)
    keys, names = loaded.pitches.tolist(), loaded.timbre_names
    attack = names[0]
    if loaded.n_attack > 1:
        attack += f" to {names[loaded.n_attack - 1].removeprefix('attack ')}"
    front_end = loaded.front_end.to_dict()
    rows = [
        ("path", str(path)),
        ("size", _size(path)),
        ("keys", _keys(keys)),
        ("tuning", _tuning(loaded)),
        ("timbres", ", ".join([f"{len(names)}: {attack}", *names[loaded.n_attack :]])),
        ("front end", f"{front_end.pop('name')}, {loaded.axis.n_bins} bins"),
        *((f"  {name}", f"{value:g}") for name, value in front_end.items()),
    ]
    for name, value in loaded.metadata.items():
        if isinstance(value, dict):
            rows.append((_text(name), ""))
            rows += [(f"  {_text(key)}", _text(item)) for key, item in value.items()]
        else:
            rows.append((_text(name), _text(value)))
    click.echo(_aligned(rows))


@command.command()
@click.argument("dictionary", metavar="NAME|FILE")
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    help="Output picture: .png, .svg or .pdf.  [default: NAME.png here, or beside FILE]",
)
@click.option(
    "--pitch",
    callback=_parse_pitch,
    metavar="PITCH",
    help="Also plot the spectra of one key: a note name (C4) or MIDI number (60).",
)
@overwrite_option
def plot(dictionary: str, output: Path | None, pitch: int | None, overwrite: bool) -> None:
    """Plot the spectra and the tuning of a dictionary."""
    from harmnmf.dictionary.timbre_dictionary import TimbreDictionary

    loaded = TimbreDictionary.load(dictionary)
    path = _path(dictionary)
    if output is None:
        output = path.with_suffix(".png") if path == Path(dictionary) else Path(f"{path.stem}.png")
    check_output(output, overwrite=overwrite)

    from harmnmf.plotting.figures import plot_dictionary, save_figure

    save_figure(plot_dictionary(loaded, pitch=pitch), output)
    click.echo(output)


def _path(dictionary: str) -> Path:
    from harmnmf.dictionary.timbre_dictionary import shipped_dictionaries
    from harmnmf.storage.shipped import find_file

    return find_file(dictionary, shipped_dictionaries(), "dictionary")


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def _keys(keys: Sequence[int]) -> str:
    from harmnmf.notes.pitch_names import pitch_name

    return f"{len(keys)}, {pitch_name(keys[0])} to {pitch_name(keys[-1])}"


def _tuning(dictionary: TimbreDictionary) -> str:
    """Tuning of the piano as a whole, and the range of its keys."""
    import numpy as np

    from harmnmf.signal.harmonics import pitch_to_hz

    cents = 100 * np.asarray(dictionary.tuning)
    a4 = float(pitch_to_hz(69, dictionary.overall_tuning))
    return (
        f"{100 * dictionary.overall_tuning:+.0f} cents (A4 = {a4:.1f} Hz), "
        f"keys {cents.min():+.0f} to {cents.max():+.0f}"
    )


def _text(value: Any) -> str:
    """Format a metadata value as one line of printable characters: the file may be untrusted."""
    match value:
        case {"notes": int(n_notes), "keys": [int(), *_] as keys, **others}:
            tuning = others.get("tuning")
            cents = f", {tuning:+d} cents" if isinstance(tuning, int) and tuning else ""
            return f"{n_notes} notes, keys: {_keys(keys)}{cents}"
        case str():
            return " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return json.dumps(value)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
