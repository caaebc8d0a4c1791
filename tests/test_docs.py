"""Pages of the documentation: links, names that they mention, and what their examples print."""

from __future__ import annotations

import contextlib
import importlib
import io
import operator
import pydoc
import re

import pytest

from benchmarks.structure import ROOT, module_name

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def links(page):
    """Yield the text, the file and the anchor of each link inside the repository."""
    for text, target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield text, (page.parent / path).resolve() if path else page, anchor


def anchors(page):
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def examples(page):
    """Yield each block of Python and the block of text that follows it, its output."""
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    for (language, code), (following, text) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "python":
            yield code, text if following == "text" else ""


@every_page
def test_links_lead_to_files_of_the_repository(page):
    for _, path, anchor in links(page):
        assert path.exists(), path
        assert path.is_relative_to(ROOT)
        assert not anchor or anchor in anchors(path), f"{path}#{anchor}"


@every_page
def test_names_are_those_of_the_code(page):
    for text, path, _ in links(page):
        if text.startswith("`") and path.suffix == ".py" and "/" not in text:
            module = importlib.import_module(module_name(path.relative_to(ROOT)))
            operator.attrgetter(text.strip("`"))(module)
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


def test_examples_of_the_readme_run(monkeypatch, tmp_path):
    page = ROOT / "README.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for code in blocks:
            exec(compile(code, str(page), "exec"), {})
    assert re.search(r"^\d+ notes, F = (0\.9\d\d|1\.000)$", printed.getvalue(), re.M)
