from __future__ import annotations

import configparser
import importlib.metadata
import re

import pytest

import harmnmf


@pytest.fixture
def config(root):
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg", encoding="utf-8")
    return config


def lines(text):
    return [line for line in text.strip().splitlines() if line]


def test_the_folders_are_the_packages(config, root):
    folders = {
        ".".join(path.parent.relative_to(root).parts)
        for top in ("harmnmf", "enhancement", "cli")
        for path in (root / top).rglob("__init__.py")
    }
    packages = {name if name.startswith("harmnmf") else f"harmnmf.{name}" for name in folders}
    assert set(lines(config["options"]["packages"])) == packages
    assert lines(config["options"]["package_dir"]) == [
        "harmnmf = harmnmf",
        "harmnmf.enhancement = enhancement",
        "harmnmf.cli = cli",
    ]


def test_one_version(config):
    assert config["metadata"]["version"] == "attr: harmnmf.__version__"
    try:
        installed = importlib.metadata.version("harmnmf")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed")
    assert installed == harmnmf.__version__


def test_requirements_have_lower_bounds_and_tested_versions(config, root):
    requirements = lines(config["options"]["install_requires"])
    requirements += lines(config["options.extras_require"]["test"])
    pins = (root / "constraints.txt").read_text(encoding="utf-8").lower().replace("-", "_")
    for requirement in requirements:
        name, bound = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).groups()
        pinned = re.search(rf"^{name.lower().replace('-', '_')}==(\S+)$", pins, re.M)[1]
        assert numbers(bound) <= numbers(pinned)


def numbers(version):
    return [int(number) for number in re.findall(r"\d+", version)]


def test_every_shipped_model_has_a_card_with_its_licence(root):
    models = sorted((root / "harmnmf" / "data").rglob("*.safetensors"))
    assert models
    for path in models:
        assert "**Licence" in path.with_suffix(".md").read_text(encoding="utf-8"), path.name
