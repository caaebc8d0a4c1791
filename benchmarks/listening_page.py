"""Parts of pages to listen to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from harmnmf.storage.files import atomic_path

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 16px sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }}
img {{ max-width: 100% }}
</style>
<h1>{title}</h1>
<p>{about}</p>
{sections}
</html>
"""


def players(files: Mapping[str, str]) -> str:
    """Write a paragraph of players, with the name of each sound before it."""
    lines = [
        f'{escape(name)} <audio controls preload="none" src="{file}"></audio>'
        for name, file in files.items()
    ]
    return "<p>" + "\n".join(lines) + "</p>\n"


def picture(file: str, description: str) -> str:
    """Write a picture, which is loaded when it comes into sight."""
    return f'<img src="{file}" alt="{escape(description)}" loading="lazy">\n'


def write_page(folder: Path, title: str, about: str, sections: Iterable[str]) -> Path:
    """Write ``index.html`` of a folder: a title, a paragraph about the sounds, and sections."""
    path = folder / "index.html"
    with atomic_path(path) as temporary:
        text = _PAGE.format(title=escape(title), about=about, sections="\n".join(sections))
        temporary.write_text(text, encoding="utf-8")
    return path
