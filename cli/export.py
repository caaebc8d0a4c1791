"""`harmnmf export`: networks for those who have no PyTorch."""

from __future__ import annotations

from pathlib import Path

import click

from harmnmf.cli._support.paths import check_output


@click.command()
@click.argument("model")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.onnx",
    help="Network to write.",
)
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
def command(model: str, output: Path, overwrite: bool) -> None:
    """Write a network that enhances as ONNX, which runs without Python and PyTorch.

    MODEL is the name of one that is shipped, or a file from `harmnmf train`; it must be one that
    streams, such as harmonic-light. What is written enhances one frame of the spectrum a call, and
    its metadata say how to use it. This needs pip install 'harmnmf[onnx]'.

    \b
    Example:
      harmnmf export harmonic-light -o harmonic-light.onnx
    """  # noqa: D301 (click needs the backspace itself)
    if output.suffix.lower() != ".onnx":
        raise click.BadParameter(
            f"{output}: a network's name ends in .onnx", param_hint="'--output'"
        )
    check_output(output, overwrite=overwrite)

    from harmnmf.enhancement.export import export_onnx
    from harmnmf.enhancement.models.registry import load_model
    from harmnmf.enhancement.shipped import find_model

    network, metadata = load_model(find_model(model))
    export_onnx(output, network, metadata)
    click.echo(f"{output}: {output.stat().st_size / 1000:.0f} kB")
