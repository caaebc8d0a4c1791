"""The option `--subtype`: format of the samples in audio files."""

from __future__ import annotations

from typing import Any

import click

from harmnmf.errors import AudioError

from .paths import file_suffix


class Subtype(click.ParamType):
    """Bits of a sample, or float; also libsndfile's names, such as PCM_16."""

    name = "subtype"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        names = {"16": "PCM_16", "24": "PCM_24", "32": "PCM_32", "FLOAT": "FLOAT"}
        subtype = names.get(value.upper().removeprefix("PCM_"))
        if subtype is None:
            self.fail(f"{value!r} is not 16, 24, 32 or float.", param, ctx)
        return subtype


subtype_option = click.option(
    "--subtype",
    type=Subtype(),
    metavar="16|24|32|float",
    help="Bits of the samples in WAV, FLAC, AIFF, ...  [default: 16 or 24 if the recording has "
    "them, else float; in FLAC 24]",
)


def check_subtype(output: str | None, subtype: str | None) -> None:
    """Raise click.UsageError if the file that `-o` names cannot have a subtype."""
    from harmnmf.signal.formats import check_format

    if output is None or file_suffix(output) is None:
        return
    try:
        check_format(output, subtype=subtype)
    except AudioError as error:
        raise click.UsageError(f"--subtype: {error}") from error
