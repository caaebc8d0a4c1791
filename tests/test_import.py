"""Imports between folders, and of the packages."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from itertools import chain

import pytest

import harmnmf
from benchmarks.structure import PACKAGES, ROOT, folder_name, imported_names, python_files

# A folder imports from earlier rows only, not from its own row.
LAYERS = [
    {"harmnmf/errors", "harmnmf/validation", "harmnmf/device", "harmnmf/progress"},
    {"harmnmf/storage"},
    {"harmnmf/signal", "harmnmf/training", "harmnmf/batch"},
    {"harmnmf/nmf", "harmnmf/notes"},
    {"harmnmf/dictionary", "harmnmf/synthesis"},
    {"harmnmf/score", "harmnmf/decoder", "harmnmf/plotting"},
    {"harmnmf/transcription", "harmnmf/separation"},
    {"harmnmf/studio", "harmnmf/live"},
]
# What enhancement/ may import of harmnmf: figures share their axes.
SHARED = {
    "harmnmf.errors", "harmnmf.validation", "harmnmf.device", "harmnmf.storage", "harmnmf.signal",
    "harmnmf.training", "harmnmf.batch", "harmnmf.plotting.axes",
}  # fmt: skip
MODELS = {"enhancement/models", "enhancement/models/layers", "enhancement/harmonic_conv"}


def layer(place):
    """Row of a folder, or of a top-level file of harmnmf."""
    return next(row for row, places in enumerate(LAYERS) if place in places)


def place(name):
    """Place of a full name: its folder, or its module at the top level."""
    return "/".join(name.split(".")[:2])


def test_every_folder_of_harmnmf_has_a_layer():
    folders = {path.parts[1].removesuffix(".py") for path in python_files(ROOT, "harmnmf")}
    known = {name.removeprefix("harmnmf/") for name in chain(*LAYERS)}
    assert folders - {"__init__", "__main__"} <= known


@pytest.mark.parametrize("path", python_files(ROOT, "harmnmf"), ids=str)
def test_harmnmf_imports_only_what_lies_below(path):
    if path.stem == "__main__":  # is the command
        return
    own = place(".".join(path.with_suffix("").parts))
    for name, is_relative in imported_names(ROOT, path):
        if name.partition(".")[0] != "harmnmf":
            continue
        if is_relative:
            assert folder_name(ROOT, name) == path.parent.as_posix(), f"imports {name}"
        elif place(name) != own:
            assert layer(place(name)) < layer(own), f"imports {name}"


@pytest.mark.parametrize("path", python_files(ROOT, "enhancement"), ids=str)
def test_enhancement_imports_what_it_shares_with_harmnmf(path):
    for name, is_relative in imported_names(ROOT, path):
        if is_relative or name.partition(".")[0] != "harmnmf":
            continue
        if name.startswith("harmnmf.enhancement."):
            own, used = path.parent.as_posix(), folder_name(ROOT, name)
            assert own not in MODELS or used in {*MODELS, "enhancement"}, f"imports {name}"
        else:
            assert any(name.startswith(f"{shared}.") for shared in SHARED), f"imports {name}"


@pytest.mark.parametrize("path", python_files(ROOT, "cli"), ids=str)
def test_commands_import_packages_by_one_name(path):
    for name, is_relative in imported_names(ROOT, path):
        assert is_relative or name.partition(".")[0] not in ("cli", "enhancement")


@pytest.mark.parametrize("path", python_files(ROOT, "harmnmf", "enhancement"), ids=str)
def test_the_library_does_not_print(path):
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.Name) and node.id == "print"), f"line {node.lineno}"


@pytest.mark.parametrize("folder", [*PACKAGES, "tests", "benchmarks", "docs", "examples"])
def test_a_checkout_has_one_import_name(folder):
    code = f"import harmnmf.{folder}"
    # Without site-packages' own finder of an installed harmnmf: from the checkout alone.
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    inside = {module.name for module in pkgutil.iter_modules([str(ROOT / "harmnmf")])}
    is_meant = folder in {*PACKAGES[1:], *inside}
    assert (done.returncode == 0) == is_meant, done.stderr


@pytest.mark.parametrize("folder", PACKAGES[1:])
def test_a_sister_package_is_not_imported_twice(folder):
    command = [sys.executable, "-c", f"import {folder}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"ImportError: import it as harmnmf.{folder}" in done.stderr


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


@pytest.mark.parametrize("path", python_files(ROOT, "tests"), ids=str)
def test_tests_import_public_names(path):
    for name, _ in imported_names(ROOT, path):
        private = [part for part in name.split(".") if part.startswith("_")]
        # Commands share the modules of a folder that is not part of the library.
        assert not name.startswith("harmnmf.") or private in ([], ["_support"]), f"imports {name}"
