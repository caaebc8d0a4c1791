"""Write RESULTS.md from the recorded results.

::

    python -m benchmarks.report

A benchmark prints its tables; with ``--record`` it also writes each as ``results/NAME.json``, with
the command, the machine and the date (into another folder with ``--into``). This command writes the
page from them. The notes of a result are written by hand, and kept when it is recorded again.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import wraps
from pathlib import Path
from typing import Any

import click
import torch

FOLDER = Path(__file__).parent / "results"
PAGE = Path(__file__).parent / "RESULTS.md"
# Results in the order of the page; those that are not recorded are left out.
SECTIONS = {
    "Transcription": (
        "transcription",
        "transcription_scores",
        "transcription_inputs",
        "sampled_pianos",
        "without_piano",
        "rendered_notes",
        "front_end",
        "decoder",
    ),
    "Live transcription": (
        "live_real",
        "live_rendered",
        "live_registers",
        "live_latency",
        "live_costs",
        "live_memory",
    ),
    "Scores": ("score_beats", "score_notation", "score_mv2h", "score_time"),
    "Keys, intervals and chords": (
        "keyboard_regions",
        "keyboard_keys",
        "keyboard_intervals",
        "keyboard_chords",
    ),
    "Speed of the factorisation": ("engine", "engine_long"),
    "Dictionaries learned from scores": (
        "timbre_dictionary",
        "timbre_dictionary_notes",
        "timbre_dictionary_convergence",
    ),
    "Harmonic convolutions": ("harmonic_conv_time", "harmonic_conv_memory", "deep_prior"),
    "Speech enhancement": (
        "enhancement",
        "enhancement_snr",
        "enhancement_costs",
        "comb_pitch",
        "noisy_piano",
    ),
    "Separation of hands and notes": (
        "separation_hands",
        "separation_notes",
        "separation_pairs",
        "separation_real",
        "separation_costs",
    ),
    "Separation of singing voices": ("singing",),
    "Many recordings": ("scale",),
    "Robustness": ("robustness_recordings", "robustness"),
}
INTRODUCTION = """# Results

Written by `python -m benchmarks.report` from `benchmarks/results/`: run a benchmark with `--record`
to replace its tables. Each names the day it was recorded; those before 2026-11-27 are of the code
before its modules moved, and were not measured again. Real-time factors are processing time over
the duration of the audio.
[docs/experiments.md](../docs/experiments.md) describes further experiments.
"""

Rows = Iterable[Sequence[str]]

data_option = click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder of recordings.",
)


@dataclass(frozen=True)
class Table:
    """Table of results.

    Parameters
    ----------
    name : str
        Name of the file in ``results/``.
    title : str
        Heading.
    columns : sequence of str
        Names of the columns.
    rows : iterable of sequence of str
        Rows of cells. An iterator is printed row by row.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Rows


def markdown_row(cells: Sequence[str]) -> str:
    """Format one row of a Markdown table."""
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def markdown(columns: Sequence[str], rows: Rows) -> str:
    """Format a Markdown table.

    Examples
    --------
    >>> print(markdown(["a", ""], [["1", ""], ["2", "3"]]))
    | a | |
    |---|---|
    | 1 | |
    | 2 | 3 |
    """
    return "\n".join(_markdown_lines(columns, rows))


def _markdown_lines(columns: Sequence[str], rows: Rows) -> Iterator[str]:
    yield markdown_row(columns)
    yield "|" + "---|" * len(columns)
    yield from map(markdown_row, rows)


def decimals(values: Iterable[float], digits: int = 3) -> list[str]:
    """Format numbers as cells."""
    return [f"{value:.{digits}f}" for value in values]


def machine(threads: int, device: str = "cpu") -> str:
    """Describe this machine: GPU if used, processor, cores and the threads in use."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    model = re.search(r"model name\s*: (.*)", text)
    name = model[1] if model else platform.machine()
    card = "" if device == "cpu" else f"{torch.cuda.get_device_name(device)}, "
    used = f"{threads} {'thread' if threads == 1 else 'threads'}"
    return f"{card}{name}, {os.cpu_count()} cores ({used})"


def command_line(arguments: Sequence[str]) -> str:
    """Command as it is published: paths shortened to their last component."""
    shown = [re.sub(r"[^\s=]*/", "", argument) for argument in arguments if argument != "--record"]
    return shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *shown])


def record(table: Table, rows: Rows, machine: str, folder: Path) -> Path:
    """Write a result to a folder, with the notes of the earlier one."""
    path = folder / f"{table.name}.json"
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    result = {
        "title": table.title,
        "notes": earlier.get("notes", ""),
        "command": command_line(sys.argv[1:]),
        "machine": machine,
        "date": date.today().isoformat(),
        "columns": list(table.columns),
        "rows": [list(row) for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(dump(result), encoding="utf-8")
    return path


def dump(result: dict[str, Any]) -> str:
    """Serialise a result with one row of the table a line."""
    rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in result["rows"])
    fields = {name: value for name, value in result.items() if name != "rows"}
    head = json.dumps(fields, ensure_ascii=False, indent=1)
    return f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n'


def benchmark(
    *, data: bool = True, threads: int = 2
) -> Callable[[Callable[..., Iterable[Table]]], click.Command]:
    """Turn a function that yields tables into a command that prints and records them.

    The command has the options ``--threads``, ``--record``, ``--into`` and, if the function takes
    the folder of data, ``--data``; its help is the docstring of the module.
    """

    def decorate(function: Callable[..., Iterable[Table]]) -> click.Command:
        @click.option("--threads", default=threads, show_default=True, help="Threads of PyTorch.")
        @click.option("--record", "is_recorded", is_flag=True, help="Write results/NAME.json.")
        @click.option(
            "--into",
            "folder",
            type=click.Path(file_okay=False, path_type=Path),
            help="Record the results in this folder instead.",
        )
        @wraps(function)
        def run(threads: int, is_recorded: bool, folder: Path | None, **options: Any) -> None:
            torch.set_num_threads(threads)
            here = machine(threads, options.get("device", "cpu"))
            click.echo(f"{here}, {date.today()}")
            for table in function(**options):
                click.echo(f"\n{table.title}\n")
                rows: list[Sequence[str]] = []
                for line in _markdown_lines(table.columns, _kept(table.rows, rows)):
                    click.echo(line)
                if is_recorded or folder:
                    path = record(table, rows, here, folder or FOLDER)
                    click.echo(f"recorded in {path}: are its notes still right?", err=True)

        run = data_option(run) if data else run
        return click.command(help=help_text(function.__globals__["__doc__"]))(run)

    return decorate


def help_text(docstring: str | None) -> str:
    """Mark the code blocks of a docstring for click, which would fill their lines otherwise."""
    return (docstring or "").replace("::\n\n", "\b\n")


def _kept(rows: Rows, kept: list[Sequence[str]]) -> Iterator[Sequence[str]]:
    for row in rows:
        kept.append(row)
        yield row


def load_results() -> dict[str, dict[str, Any]]:
    """Read the recorded results by name."""
    paths = sorted(FOLDER.glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def page(results: dict[str, dict[str, Any]]) -> str:
    """Format the page of results."""
    parts = [INTRODUCTION]
    for section, names in SECTIONS.items():
        recorded = [results[name] for name in names if name in results]
        if recorded:
            parts.append(f"## {section}\n")
        previous = ""
        for result in recorded:
            text = textwrap.fill(f"**{result['title']}.** {result['notes']}", 100)
            source = f"`{result['command']}`: {result['machine']}, {result['date']}."
            parts.append(text + ("\n" if source == previous else f"\n{source}\n"))
            parts.append(markdown(result["columns"], result["rows"]) + "\n")
            previous = source
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(load_results()), encoding="utf-8")


if __name__ == "__main__":
    main()
