"""The pages of the documentation: where their links lead, what they name, what they print."""

from __future__ import annotations

import contextlib
import importlib
import io
import operator
import pydoc
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


def links(page):
    """Yield the text and the file of each link to a file of the repository."""
    for text, target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            yield text, (page.parent / target.partition("#")[0]).resolve()


def examples(page):
    """Yield each block of Python and the block of text behind it, which is what it prints."""
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    for (language, code), (following, text) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "python":
            yield code, text if following == "text" else ""


@every_page
def test_links_lead_to_files_of_the_repository(page):
    missing = [str(path) for _, path in links(page) if not path.exists()]
    assert not missing
    assert all(path.is_relative_to(ROOT) for _, path in links(page))


@every_page
def test_names_are_those_of_the_code(page):
    for text, path in links(page):
        if text.startswith("`") and path.suffix == ".py" and "/" not in text:
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            operator.attrgetter(text.strip("`"))(importlib.import_module(module))
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    for name in re.findall(r"`(harmnmf(?:\.\w+)+)", prose):
        assert pydoc.locate(name) is not None, name
    for name in re.findall(r"`((?:harmnmf|enhancement|cli)/[\w/.]+)`", prose):
        assert (ROOT / name).exists(), name


def test_examples_print_what_the_page_shows(monkeypatch):
    monkeypatch.chdir(ROOT)
    page, namespace = ROOT / "docs" / "solvers.md", {}
    assert list(examples(page))
    for code, expected in examples(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(page), "exec"), namespace)
        assert printed.getvalue() == expected
