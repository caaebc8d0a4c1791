"""Engrave scores as SVG and PDF.

Verovio engraves, and Typst makes PDF of its pages: the extra ``harmnmf[score]`` installs both.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harmnmf.errors import HarmnmfError
from harmnmf.score.score import Score
from harmnmf.storage.files import atomic_path

from .musicxml import to_musicxml

__all__ = ["engrave", "write_pdf", "write_svg"]

# Tenths of a millimetre, of A4; a page of a file in SVG is as high as its content.
_WIDTH, _HEIGHT = 2100, 2970
_HIGHEST = 60000  # of what Verovio can engrave
_SIZE = re.compile(r'<svg width="(\d+)px" height="(\d+)px"')
_FONT = "Leipzig"
# Text that begins in the music font: the note value of a tempo mark.
_NOTE_VALUE = re.compile(
    r'<text x="(\d+)" y="(\d+)"([^>]*)>\s*<tspan[^>]*>\s*<tspan[^>]*>\s*'
    rf'<tspan font-family="{_FONT}" font-size="(\d+)px">([^<]+)</tspan>\s*</tspan>\s*</tspan>'
)
_TOOL_TIP = re.compile(r'<title class="labelAttr">[^<]*</title>')


def write_svg(path: str | Path, score: Score) -> None:
    """Engrave a score as a picture, with all systems below each other.

    Parameters
    ----------
    path : str or Path
        File to write or replace (``.svg``).
    score : Score
        Score.

    Raises
    ------
    ParameterError
        If notes lie outside the bars, or more than four voices of a staff overlap.
    HarmnmfError
        If Verovio is not installed, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from harmnmf.score.bars import Bars
    >>> from harmnmf.score.score import Key, ScoreNotes
    >>> columns = [np.array([value]) for value in (0, 1920, 60, 1, 1, 0)]
    >>> notes = ScoreNotes(*columns, ornament=np.array([""]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_svg(Path(folder, "song.svg"), Score(notes, Bars([[4, 4]]), (Key(0, 0),)))
    """
    pages = engrave(score, pageHeight=_HIGHEST, adjustPageHeight=True, scale=50)
    text = pages[0] if len(pages) == 1 else _stacked(pages)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_pdf(path: str | Path, score: Score) -> None:
    """Engrave a score on pages of A4.

    Parameters
    ----------
    path : str or Path
        File to write or replace (``.pdf``).
    score : Score
        Score.

    Raises
    ------
    ParameterError
        If notes lie outside the bars, or more than four voices of a staff overlap.
    HarmnmfError
        If Verovio or Typst is not installed, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from harmnmf.score.bars import Bars
    >>> from harmnmf.score.score import Key, ScoreNotes
    >>> columns = [np.array([value]) for value in (0, 1920, 60, 1, 1, 0)]
    >>> notes = ScoreNotes(*columns, ornament=np.array([""]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_pdf(Path(folder, "song.pdf"), Score(notes, Bars([[4, 4]]), (Key(0, 0),)))
    """
    typst = _load("typst")
    margins = {f"pageMargin{side}": 120 for side in ("Left", "Right", "Top", "Bottom")}
    pages = engrave(score, pageHeight=_HEIGHT, **margins)
    # Without a date, equal scores make equal files.
    document = "#set document(date: none)\n"
    document += f"#set page(width: {_WIDTH / 10}mm, height: {_HEIGHT / 10}mm, margin: 0mm)\n"
    for i in range(len(pages)):
        document += f'#image(bytes(sys.inputs.at("{i}")), width: 100%)\n'
    inputs = {str(i): page for i, page in enumerate(pages)}
    data = typst.compile(document.encode(), format="pdf", sys_inputs=inputs)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _load(name: str) -> Any:
    """Import a package of the extra `score`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise HarmnmfError(
            f"SVG and PDF need the package {name}: pip install 'harmnmf[score]'"
        ) from error


def engrave(score: Score, **options: Any) -> list[str]:
    """Engrave a score as pages in SVG.

    Parameters
    ----------
    score : Score
        Score.
    **options
        Options of Verovio, such as `pageHeight`.

    Returns
    -------
    list of str
        Pages.

    Raises
    ------
    ParameterError
        If notes lie outside the bars, or more than four voices of a staff overlap.
    HarmnmfError
        If Verovio is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from harmnmf.score.bars import Bars
    >>> from harmnmf.score.score import Key, ScoreNotes
    >>> columns = [np.array([value]) for value in (0, 1920, 60, 1, 1, 0)]
    >>> notes = ScoreNotes(*columns, ornament=np.array([""]))
    >>> len(engrave(Score(notes, Bars([[4, 4]]), (Key(0, 0),))))
    1
    """
    verovio = _load("verovio")
    verovio.enableLog(verovio.LOG_ERROR)
    toolkit = verovio.toolkit()
    usual = {"pageWidth": _WIDTH, "footer": "none", "font": _FONT, "smuflTextFont": "none"}
    # A seed makes equal files of equal scores.
    toolkit.setOptions({**usual, "xmlIdSeed": 1, **options})
    toolkit.loadData(to_musicxml(score))
    glyphs = Path(toolkit.getResourcePath())
    return [_plain(toolkit.renderToSVG(page + 1), glyphs) for page in range(toolkit.getPageCount())]


def _plain(page: str, glyphs: Path) -> str:
    """Make a page look the same in all programs, of which only browsers have the music font.

    Its glyphs are drawn, and names of texts are left out, which some programs take for text.
    """

    def drawn(match: re.Match[str]) -> str:
        x, y, attributes, size, characters = match.groups()
        left, scale = float(x), int(size) / 1000
        paths = ""
        for character in characters:
            code = f"{ord(character):04X}"
            glyph = (glyphs / _FONT / f"{code}.xml").read_text(encoding="utf-8")
            outline = re.sub("</?g[^>]*>", "", glyph)
            paths += f'<g transform="translate({left:g},{y}) scale({scale:g})">{outline}</g>'
            advance = re.search(rf'c="{code}"[^>]*h-a-x="(\d+)"', table)
            left += scale * int(advance[1]) if advance else 0
        return f'{paths}<text x="{left:g}" y="{y}"{attributes}>'

    table = (glyphs / f"{_FONT}.xml").read_text(encoding="utf-8")
    return _TOOL_TIP.sub("", _NOTE_VALUE.sub(drawn, page))


def _stacked(pages: Sequence[str]) -> str:
    """Put pages below each other in one picture."""
    width = top = 0
    placed = []
    for page in pages:
        size = _SIZE.match(page)
        assert size is not None
        placed.append(page.replace("<svg", f'<svg y="{top}"', 1))
        width, top = int(size[1]), top + int(size[2])
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}px" height="{top}px">\n'
    return head + "".join(placed) + "</svg>\n"
