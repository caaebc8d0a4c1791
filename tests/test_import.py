"""Data goes up the floors once: these tests read the imports and refuse the way down."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

import harmnmf

ROOT = Path(__file__).resolve().parent.parent
SIGNAL, FACTORIZATION, MUSIC = range(3)
# All that is not here stands on the music floor, and may import everything in harmnmf.
FLOORS = {
    "acoustics": SIGNAL,
    "audio": SIGNAL,
    "audiofiles": SIGNAL,
    "batch": SIGNAL,
    "canvas": SIGNAL,
    "checkpoint": SIGNAL,
    "training": SIGNAL,
    "decibels": SIGNAL,
    "device": SIGNAL,
    "errors": SIGNAL,
    "harmonics": SIGNAL,
    "pitchnames": SIGNAL,
    "recording": SIGNAL,
    "spectrogram": SIGNAL,
    "tuning": SIGNAL,
    "npz": SIGNAL,
    "soundfiles": SIGNAL,
    "storage": SIGNAL,
    "adaptation": FACTORIZATION,
    "dictionary": FACTORIZATION,
    "divergence": FACTORIZATION,
    "factorization": FACTORIZATION,
    "learning": FACTORIZATION,
    "solvers": FACTORIZATION,
    "templates": FACTORIZATION,
    "timbres": FACTORIZATION,
}


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def dotted_name(path: Path) -> str:
    """Name of a module under the one import name: cli/info.py is harmnmf.cli.info."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "harmnmf" else ("harmnmf", *parts))


def imported_names(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the full name of all that a file imports, and whether it is named relatively."""
    package = dotted_name(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, False
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            source = importlib.util.resolve_name(relative, package)
            for alias in node.names:
                yield f"{source}.{alias.name}", node.level > 0


def submodule(name: str) -> str:
    """First part below harmnmf of a full name, or nothing if it is not in harmnmf."""
    first, _, rest = name.partition(".")
    return rest.partition(".")[0] if first == "harmnmf" else ""


@pytest.mark.parametrize("path", python_files("harmnmf"), ids=dotted_name)
def test_the_library_imports_nothing_above_it(path):
    if path.name == "__main__.py":  # is the command, and not the library
        return
    own = submodule(dotted_name(path))
    for name, is_relative in imported_names(path):
        used = submodule(name)
        assert used not in ("cli", "enhancement"), f"imports {name}"
        if name.partition(".")[0] == "harmnmf":
            assert is_relative, f"imports {name} by its full name"
            assert FLOORS.get(used, MUSIC) <= FLOORS.get(own, MUSIC), f"imports {name}, above it"


@pytest.mark.parametrize("path", python_files("enhancement"), ids=dotted_name)
def test_enhancement_stands_on_the_signal_floor(path):
    for name, is_relative in imported_names(path):
        used = submodule(name)
        if used and not is_relative:
            module = getattr(getattr(harmnmf, used, None), "__module__", f"harmnmf.{used}")
            assert FLOORS.get(submodule(module)) == SIGNAL, f"imports {name}"


@pytest.mark.parametrize("path", python_files("cli"), ids=dotted_name)
def test_commands_import_by_the_one_name(path):
    for name, is_relative in imported_names(path):
        assert is_relative or name.partition(".")[0] not in ("cli", "enhancement")


@pytest.mark.parametrize(
    "path", python_files("harmnmf") + python_files("enhancement"), ids=dotted_name
)
def test_the_library_does_not_print(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.Name) and node.id == "print"), f"line {node.lineno}"


def test_import_is_light(python):
    code = "import harmnmf, sys; sys.stdout.write(' '.join(sys.modules))"
    result = python("-W", "error", "-c", code)
    assert result.stderr == ""
    heavy = {"torch", "librosa", "scipy", "matplotlib", "numpy", "soundfile"}
    assert not heavy & set(result.stdout.split())


def test_every_public_name_loads():
    for name in harmnmf.__all__:
        assert getattr(harmnmf, name).__doc__, name
    assert set(harmnmf.__all__) <= set(dir(harmnmf))
    with pytest.raises(AttributeError):
        harmnmf.no_such_name  # noqa: B018
