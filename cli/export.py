"""`harmnmf export`: networks as ONNX."""

from __future__ import annotations

from pathlib import Path

import click

from harmnmf.cli._support.options import PATH, overwrite_option
from harmnmf.cli._support.paths import check_output


@click.command()
@click.argument("model")
@click.option("-o", "--output", required=True, type=PATH, metavar="FILE.onnx", help="Output file.")
@overwrite_option
def command(model: str, output: Path, overwrite: bool) -> None:
    """Export an enhancement network to ONNX, to run it without PyTorch.

    MODEL is a name, such as harmonic-light, or a file from `harmnmf train`; it must be a causal
    network. The exported network enhances one spectral frame per call; its metadata describe the
    inputs. Needs pip install 'harmnmf[onnx]'.

    \b
    Example:
      harmnmf export harmonic-light -o harmonic-light.onnx
    """  # noqa: D301 (click needs the backspace itself)
    if output.suffix.lower() != ".onnx":
        raise click.BadParameter(f"{output}: the name must end in .onnx", param_hint="'--output'")
    check_output(output, overwrite=overwrite)

    from harmnmf.enhancement.export import export_onnx
    from harmnmf.enhancement.models.registry import load_model
    from harmnmf.enhancement.shipped import find_model

    network, metadata = load_model(find_model(model))
    export_onnx(output, network, metadata)
    click.echo(f"{output}: {output.stat().st_size / 1000:.0f} kB")
