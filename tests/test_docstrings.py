"""Examples in docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import warnings

import pytest


def module_names():
    return sorted(
        name
        for package in ("harmnmf", "harmnmf.enhancement")
        for _, name, _ in pkgutil.walk_packages(
            importlib.import_module(package).__path__, f"{package}."
        )
        if not name.endswith("__main__")
    )


@pytest.mark.parametrize("name", ["harmnmf", *module_names()])
def test_examples_run(name):
    module = importlib.import_module(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert doctest.testmod(module).failed == 0
