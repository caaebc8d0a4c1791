"""`harmnmf convert`: notes to other formats, and files of older versions to safetensors."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harmnmf.cli._support.options import PATH, overwrite_option
from harmnmf.cli._support.paths import check_output
from harmnmf.errors import FormatError, HarmnmfError
from harmnmf.notes.suffixes import (
    EVENT_SUFFIXES,
    MIDI_SUFFIXES,
    TABLE_SUFFIXES,
    WRITTEN_MIDI_SUFFIXES,
)

if TYPE_CHECKING:
    import numpy as np


_WRITTEN = (*WRITTEN_MIDI_SUFFIXES, ".csv", ".json")


@click.command()
@click.argument("source", metavar="FILE", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    help="Output file: .mid, .csv or .json for notes.  [default: .mid or .safetensors beside the "
    "input]",
)
@overwrite_option
def command(source: Path, output: Path | None, overwrite: bool) -> None:
    """Convert notes to MIDI, or a file of an older harmnmf to safetensors.

    FILE has notes: the events of `harmnmf listen` (.jsonl), which a take that was cut off leaves, a
    table (.csv, .tsv, .txt) or MIDI (.mid, .midi, .rmi, .kar). Notes and the sustain pedal are
    written, in one track, but not the tempo. Or it is a dictionary or a network that an older
    harmnmf wrote (.npz); training checkpoints and excerpts cannot be converted.

    \b
    Examples:
      harmnmf convert take.jsonl
      harmnmf convert song.mid -o song.csv
      harmnmf convert dictionary.npz
    """  # noqa: D301 (click needs the backspace itself)
    if source.suffix.lower() in (*EVENT_SUFFIXES, *TABLE_SUFFIXES, *MIDI_SUFFIXES):
        click.echo(_convert_notes(source, output, overwrite=overwrite))
        return
    output = output or source.with_suffix(".safetensors")
    check_output(output, overwrite=overwrite)

    from harmnmf.storage.arrays import save_arrays

    arrays, metadata = _read_archive(source)
    try:
        arrays, metadata = _rename(arrays, metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{source}: cannot be converted ({error})") from error
    save_arrays(output, arrays, metadata)
    click.echo(output)


def _convert_notes(source: Path, output: Path | None, *, overwrite: bool) -> Path:
    """Write the notes of a file in another format; return its path."""
    output = output or source.with_suffix(".mid")
    suffix = output.suffix.lower()
    if suffix not in _WRITTEN:
        raise click.UsageError(f"{output}: notes are written to files named {', '.join(_WRITTEN)}")
    if source.exists() and output.exists() and source.samefile(output):
        raise HarmnmfError(f"{source}: is also the output; name another with --output")
    check_output(output, overwrite=overwrite)

    from harmnmf.notes.files import read_notes, write_csv, write_midi
    from harmnmf.notes.json_file import write_json

    # Of tables the pedal is not known.
    is_table = source.suffix.lower() in TABLE_SUFFIXES
    notes = read_notes(source, offset="pedal" if is_table else "key")
    write = {".csv": write_csv, ".json": write_json}.get(suffix, write_midi)
    write(output, notes)
    return output


def _read_archive(source: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    import numpy as np

    try:
        with np.load(source, allow_pickle=False) as archive:
            arrays = dict(archive)
        metadata = json.loads(arrays.pop("metadata").tobytes())
        del metadata["format"], metadata["version"]
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{source}: is not a file of an older harmnmf ({error})") from error
    return arrays, metadata


def _rename(
    arrays: dict[str, np.ndarray], metadata: dict[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Name arrays and metadata as today's files do."""
    kind = metadata["kind"]
    if kind == "timbre-dictionary":
        return arrays, metadata
    if kind == "note-network":
        weights = {name.replace("__", "."): array for name, array in arrays.items()}
        from harmnmf.decoder.features import FeatureSettings

        about = {name: metadata.pop(name) for name in ("kind", "about")}
        # All older networks were trained with these settings.
        return weights, {**about, "config": metadata, "features": FeatureSettings().to_dict()}
    if kind == "enhancement-model":
        import torch

        from harmnmf.enhancement.models.registry import build_model

        if metadata["config"].pop("refines", False):
            # This variant of Spectrum Attention Fusion has a class of its own now.
            config = {name: metadata["config"][name] for name in ("n_channels", "n_blocks")}
            metadata = {**metadata, "model": "harmonic-refinement", "config": config}
        with torch.device("meta"):  # only the names of the weights are needed
            names = build_model(metadata["model"], **metadata["config"]).state_dict()
        # Arrays were numbered in the order of the state dict.
        numbered = [arrays[f"w{i}"] for i in range(len(arrays))]
        return dict(zip(names, numbered, strict=True)), metadata
    raise ValueError(f"no way to convert {kind}")
