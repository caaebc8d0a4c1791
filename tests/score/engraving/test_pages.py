"""Scores as SVG and PDF."""

from __future__ import annotations

import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from scores import make_score, played

from harmnmf import HarmnmfError
from harmnmf.score.bars import TICKS
from harmnmf.score.engraving.pages import write_pdf, write_svg

Q = TICKS
SVG = "{http://www.w3.org/2000/svg}"


def song(n_bars, title="Für Elise"):
    rows = [(Q * i, Q, "C5") for i in range(4 * n_bars)]
    rows += [(4 * Q * bar, 4 * Q, "C3", 2) for bar in range(n_bars)]
    return make_score(rows, [[4, 4]] * n_bars, title=title)


def n_of(root, name):
    """How often Verovio has drawn something."""
    return sum(name in (element.get("class") or "").split() for element in root.iter())


def test_svg_has_what_the_score_has(tmp_path):
    write_svg(tmp_path / "a.svg", song(12))
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert root.tag == f"{SVG}svg"
    assert n_of(root, "note") == 60
    assert n_of(root, "measure") == 12
    assert n_of(root, "staff") == 24
    assert n_of(root, "system") > 1
    text = "".join(root.itertext())
    assert "Für Elise" in text
    # As high as its systems.
    assert 200 < int(root.get("height").removesuffix("px")) < 1400


@pytest.mark.slow
def test_long_scores_are_one_picture(tmp_path):
    write_svg(tmp_path / "a.svg", song(2000))
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert n_of(root, "measure") == 2000
    pages = root.findall(f"{SVG}svg")
    assert len(pages) > 1
    tops = [int(page.get("y")) for page in pages]
    heights = [int(page.get("height").removesuffix("px")) for page in pages]
    assert tops == np.cumsum([0, *heights[:-1]]).tolist()
    assert root.get("height") == f"{sum(heights)}px"


@pytest.mark.parametrize(("signature", "n_glyphs"), [((4, 4), 1), ((6, 8), 2), ((2, 2), 1)])
def test_tempo_marks_need_no_font(tmp_path, signature, n_glyphs):
    score = make_score([(0, Q, "C4")], [signature] * 2)
    score = played(score, np.arange(len(score.bars.beats())))
    write_svg(tmp_path / "a.svg", score)
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert not re.search("[\ue000-\uf8ff]", text)
    assert "font-face" not in text
    (tempo,) = [
        element
        for element in ElementTree.fromstring(text).iter()
        if element.get("class") == "tempo"
    ]
    assert len(tempo.findall(f".//{SVG}path")) == n_glyphs
    assert "".join(tempo.itertext()).split() == ["=", "60"]


def test_pdf_has_pages(tmp_path):
    write_pdf(tmp_path / "a.pdf", song(80))
    data = (tmp_path / "a.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    n_pages = int(re.search(rb"/Type\s*/Pages\b.*?/Count (\d+)", data, re.DOTALL)[1])
    assert n_pages > 1


@pytest.mark.parametrize("write", [write_svg, write_pdf])
def test_equal_scores_make_equal_files(tmp_path, write):
    for name in ("a", "b"):
        write(tmp_path / name, song(3))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("write", [write_svg, write_pdf])
def test_titles_of_any_letters(tmp_path, write):
    write(tmp_path / "a", song(1, title='<b>"월광" & Лунная\\ #соната$ \x01'))
    assert (tmp_path / "a").stat().st_size > 1000


@pytest.mark.parametrize("write", [write_svg, write_pdf])
def test_no_notes(tmp_path, write):
    write(tmp_path / "a", make_score([]))
    assert (tmp_path / "a").stat().st_size > 1000


@pytest.mark.parametrize(
    ("write", "package"), [(write_svg, "verovio"), (write_pdf, "verovio"), (write_pdf, "typst")]
)
def test_packages_that_are_missing(tmp_path, monkeypatch, write, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(HarmnmfError, match=rf"{package}: pip install 'harmnmf\[score\]'"):
        write(tmp_path / "a", song(1))
    assert not list(tmp_path.iterdir())


def test_nothing_is_printed(tmp_path, capfd):
    write_svg(tmp_path / "a.svg", song(4))
    write_pdf(tmp_path / "a.pdf", song(4))
    assert capfd.readouterr() == ("", "")
