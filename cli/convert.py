"""`harmnmf convert`: files of older versions to safetensors."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harmnmf.cli._support.options import PATH, overwrite_option
from harmnmf.cli._support.paths import check_output
from harmnmf.errors import FormatError

if TYPE_CHECKING:
    import numpy as np


@click.command()
@click.argument("source", metavar="OLD.npz", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="NEW.safetensors",
    help="Output file.  [default: beside the old file]",
)
@overwrite_option
def command(source: Path, output: Path | None, overwrite: bool) -> None:
    """Convert a file of an older harmnmf to safetensors.

    Converts dictionaries and networks. Training checkpoints and excerpts cannot be converted.
    """
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
