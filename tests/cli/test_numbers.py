"""Numbers on the command line are checked before any work."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from harmnmf.cli.main import COMMANDS, main


def commands(command: click.Command, *names: str) -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command with its names, those of groups too."""
    if not isinstance(command, click.Group):
        return [(names, command)]
    context = click.Context(command)
    found = []
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        found += commands(inner, *names, name)
    return found


def numeric_options() -> list[tuple[tuple[str, ...], click.Option]]:
    return [
        (names, option)
        for names, command in commands(main)
        for option in command.params
        if isinstance(option, click.Option)
        and option.type.name.startswith(("int", "float"))
        and not option.is_flag
    ]


def test_options_are_found() -> None:
    options = numeric_options()
    assert len({names[0] for names, _ in options}) >= 5
    assert {names[0] for names, _ in options} <= set(COMMANDS)


@pytest.mark.parametrize("value", ["many", "nan", "inf", "-inf"])
@pytest.mark.parametrize(("names", "option"), numeric_options())
def test_wrong_numbers_are_usage_errors(
    names: tuple[str, ...], option: click.Option, value: str, tmp_path: Path
) -> None:
    name = option.opts[-1]
    result = CliRunner().invoke(main, [*names, name, value], catch_exceptions=False)
    assert result.exit_code == 2
    is_allowed = value == "inf" and getattr(option.type, "infinite", False)
    assert (name in result.stderr) != is_allowed
    assert (value in result.stderr) != is_allowed
