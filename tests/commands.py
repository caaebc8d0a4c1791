"""Commands run in this process, and what they print and leave."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner


def invoke(command, *args):
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception  # a traceback is a bug
    return result


def contents(folder="."):
    """Content of each file in a folder, None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in Path(folder).rglob("*")
    }


def assert_error(command, args, *parts, folder="."):
    """The command prints one error with these parts, and leaves all files unchanged."""
    before = contents(folder)
    result = invoke(command, *args)
    assert (result.exit_code, result.stdout) == (1, "")
    error, *rest = result.stderr.splitlines()
    assert rest in ([], ["harmnmf: 1 of 1 recordings failed"])
    for part in ("harmnmf: error: ", *parts):
        assert part in error
    assert contents(folder) == before
