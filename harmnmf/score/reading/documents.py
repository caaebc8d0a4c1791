"""Parse MusicXML files, and find the part of the piano."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from harmnmf.errors import FormatError
from harmnmf.storage.files import open_plain

__all__ = ["choose_parts", "n_staves", "parse", "title"]

_MAX_BYTES = 2**26  # five times the longest piano work
_KEYBOARDS = (
    *("piano", "klavier", "clavier", "forte", "keyboard", "harpsi", "cembalo", "clavecin"),
    *("pno", "pf.", "organ", "orgel", "harmonium", "celesta"),
)


def parse(path: Path) -> Element:
    """Parse a MusicXML file, or the score in a compressed one.

    Parameters
    ----------
    path : Path
        File to read.

    Returns
    -------
    Element
        Root of the document.

    Raises
    ------
    FormatError
        If the file is missing, damaged, too large, or declares entities.
    """
    try:
        with open_plain(path) as file:
            data = file.read(_MAX_BYTES + 1)
        if data[:4] == b"PK\x03\x04":
            data = _extract(zipfile.ZipFile(io.BytesIO(data)))
        if len(data) > _MAX_BYTES:
            raise FormatError(f"{path}: too large for a score, with more than {_MAX_BYTES} bytes")
        return _tree(data)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError),  # of zipfile
        *(ElementTree.ParseError, ValueError, LookupError),  # of ElementTree
    ) as error:
        raise FormatError(
            f"{path}: cannot be read as MusicXML ({error}); give a .musicxml, .xml or .mxl file"
        ) from error


def _tree(data: bytes) -> Element:
    # Expat expands entities, and a few lines of them can make gigabytes.
    if b"<!ENTITY" in data.replace(b"\0", b""):
        raise ValueError("it declares XML entities, which scores do not use")
    return ElementTree.fromstring(data)


def _extract(archive: zipfile.ZipFile) -> bytes:
    with archive.open(_score_name(archive)) as member:
        return member.read(_MAX_BYTES + 1)


def _score_name(archive: zipfile.ZipFile) -> str:
    """Name of the score in an archive: the first that its container lists."""
    names = archive.namelist()
    if "META-INF/container.xml" in names:
        with archive.open("META-INF/container.xml") as member:
            container = _tree(member.read(2**16))
        for element in container.iter():
            if element.tag.endswith("rootfile") and element.get("full-path"):
                return str(element.get("full-path"))
    for name in names:
        if name.lower().endswith((".musicxml", ".xml")) and not name.startswith("META-INF/"):
            return name
    raise ValueError("no score in this archive")


def title(root: Element) -> str:
    """Find the title of a score; empty if it has none."""
    found = [root.findtext("movement-title"), root.findtext("work/work-title")]
    found += [
        credit.findtext("credit-words")
        for credit in root.findall("credit")
        if credit.findtext("credit-type") == "title"
    ]
    return next((" ".join(text.split()) for text in found if text and text.strip()), "")


def n_staves(part: Element) -> int:
    """Count the staves of a part."""
    return max((int(text.text or 1) for text in part.iter("staves")), default=1)


def choose_parts(root: Element, wanted: str | None) -> tuple[list[Element], str]:
    """Find the part of the piano, or two parts for its hands.

    Parameters
    ----------
    root : Element
        Document.
    wanted : str, optional
        Name or id of the part to choose.

    Returns
    -------
    parts : list of Element
        One part, or those of the right and the left hand.
    remark : str
        Remark on the choice; empty if no other part could be meant.

    Raises
    ------
    ValueError
        If there is no such part, or none for piano.
    """
    names = {
        str(element.get("id")): " ".join((element.findtext("part-name") or "").split())
        for element in root.iter("score-part")
    }
    parts = root.findall("part")
    if not parts:
        raise ValueError("it has no parts")
    labels = [names.get(str(part.get("id"))) or str(part.get("id")) for part in parts]
    listed = ", ".join(labels)
    if wanted is not None:
        for part, label in zip(parts, labels, strict=True):
            if wanted.casefold() in (label.casefold(), str(part.get("id")).casefold()):
                return [part], ""
        raise ValueError(f"no part {wanted!r}; its parts are {listed}")
    if len(parts) == 1:
        return parts, ""
    named = [any(word in label.casefold() for word in _KEYBOARDS) for label in labels]
    wide = [n_staves(part) > 1 for part in parts]
    ranks = [2 * is_wide + is_named for is_wide, is_named in zip(wide, named, strict=True)]
    best = [index for index, rank in enumerate(ranks) if rank == max(ranks)]
    chosen = [parts[index] for index in best]
    if any(wide):
        others = [
            label
            for index, label in enumerate(labels)
            if index != best[0] and (named[index] or index in best)
        ]
        remark = f"part {labels[best[0]]} is read, and left out: {', '.join(others)}"
        return chosen[:1], remark if others else ""
    if any(named) and len(chosen) <= 2:
        return chosen, ""
    if len(chosen) == 2:
        return chosen, f"no part has two staves; its parts {listed} are read as the two hands"
    raise ValueError(f"none of its parts {listed} has two staves, as a piano's")
