"""Print the structure of the code: files, lines and imports of each folder.

::

    python -m benchmarks.structure
    python -m benchmarks.structure PATH/TO/ANOTHER/CHECKOUT
"""

from __future__ import annotations

import ast
import importlib.util
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from .report import help_text

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("harmnmf", "enhancement", "cli")


def python_files(root: Path, *tops: str) -> list[Path]:
    """List the Python files below top-level folders, relative to the root."""
    return sorted(path.relative_to(root) for top in tops for path in (root / top).rglob("*.py"))


def module_name(path: Path) -> str:
    """Name a file is imported by: cli/info.py is harmnmf.cli.info."""
    parts = path.with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "harmnmf" else ("harmnmf", *parts))


def folder_name(root: Path, name: str) -> str:
    """Folder that a name imported from harmnmf is defined in: harmnmf/signal, for example."""
    parts = name.split(".")
    parts = parts[1:] if parts[1:2] and parts[1] in PACKAGES else parts
    while len(parts) > 1 and not root.joinpath(*parts).is_dir():
        if root.joinpath(*parts).with_suffix(".py").is_file():
            return "/".join(parts[:-1])
        parts = parts[:-1]
    return "/".join(parts)


def imported_names(root: Path, path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the full name of everything a file imports, and whether it is named relatively."""
    package = module_name(path)
    package = package if path.stem == "__init__" else package.rpartition(".")[0]
    for node in ast.walk(ast.parse((root / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, False
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            full = importlib.util.resolve_name(source, package)
            for alias in node.names:
                yield f"{full}.{alias.name}", node.level > 0


def folder_imports(root: Path) -> dict[str, Counter[str]]:
    """Count, for each folder of the packages, the imports from each other folder."""
    table: dict[str, Counter[str]] = {}
    for path in python_files(root, *PACKAGES):
        own = path.parent.as_posix()
        counts = table.setdefault(own, Counter())
        for name, _ in imported_names(root, path):
            if name.partition(".")[0] == "harmnmf":
                counts[folder_name(root, name)] += 1
        del counts[own]
    return table


def count_lines(root: Path, paths: list[Path]) -> int:
    """Count the lines of files."""
    return sum(len((root / path).read_text(encoding="utf-8").splitlines()) for path in paths)


def tested(root: Path, test: Path) -> str:
    """Package that a file of tests is for, by its folder; "" for what all tests share."""
    part = test.parts[1] if len(test.parts) > 2 else test.stem.removeprefix("test_")
    if part in (*PACKAGES, "benchmarks"):
        return part
    is_inside = (root / "harmnmf" / part).is_dir() or (root / "harmnmf" / f"{part}.py").is_file()
    return "harmnmf" if is_inside else ""


@click.command(help=help_text(__doc__))
@click.argument("root", default=ROOT, type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(root: Path) -> None:
    print("| folder | files | lines | imports from |\n|---|---|---|---|")
    for folder, counts in folder_imports(root).items():
        files = [p for p in python_files(root, *PACKAGES) if p.parent.as_posix() == folder]
        used = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        modules = [p for p in files if p.stem != "__init__"]
        print(f"| {folder} | {len(modules)} | {count_lines(root, files)} | {used} |")
    print("\n| lines of | code | tests |\n|---|---|---|")
    tests = python_files(root, "tests")
    for top in (*PACKAGES, "benchmarks"):
        own = [path for path in tests if tested(root, path) == top]
        code = python_files(root, top)
        print(f"| {top} | {count_lines(root, code)} | {count_lines(root, own)} |")
    shared = [path for path in tests if not tested(root, path)]
    print(f"| all of them | | {count_lines(root, shared)} |")
    total = count_lines(root, python_files(root, *PACKAGES))
    own = [path for path in tests if tested(root, path) != "benchmarks"]
    print(f"| without benchmarks | {total} | {count_lines(root, own)} |")


if __name__ == "__main__":
    main()
