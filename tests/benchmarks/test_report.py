from __future__ import annotations

import json
import sys
from itertools import chain

from click.testing import CliRunner

from benchmarks import report
from benchmarks.report import PAGE, SECTIONS, Table, benchmark, command_line, load_results, page


def test_the_page_is_what_the_command_writes():
    assert PAGE.read_text(encoding="utf-8") == page(load_results())


def test_every_result_has_a_place_and_notes():
    results = load_results()
    assert set(results) <= set(chain(*SECTIONS.values()))
    for name, result in results.items():
        assert result["notes"].endswith("."), name
        assert {len(row) for row in result["rows"]} == {len(result["columns"])}, name


def test_commands_are_published_without_local_paths(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/me/benchmarks/engine.py"])
    arguments = ["--data", "/home/me/data", "--run=../run", "--divergence", "β = 0.5", "--record"]
    expected = "python -m benchmarks.engine --data data --run=run --divergence 'β = 0.5'"
    assert command_line(arguments) == expected


@benchmark(data=False, threads=1)
def example():
    yield Table("example", "Example", ["a", "b"], ([str(i), ""] for i in range(2)))


def test_tables_are_printed_and_recorded(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["example.py"])
    result = CliRunner().invoke(example, [])
    assert result.output.endswith("\nExample\n\n| a | b |\n|---|---|\n| 0 | |\n| 1 | |\n")
    assert not list(tmp_path.iterdir())
    for notes in ("", "What it shows."):
        assert CliRunner().invoke(example, ["--record"]).exit_code == 0
        path = tmp_path / "example.json"
        recorded = json.loads(path.read_text(encoding="utf-8"))
        assert recorded["rows"] == [["0", ""], ["1", ""]]
        assert recorded["command"] == "python -m benchmarks.example"
        assert recorded["notes"] == notes
        path.write_text(json.dumps({**recorded, "notes": "What it shows."}), encoding="utf-8")


def test_a_source_is_named_once_for_tables_of_the_same_run():
    result = {"title": "T", "notes": "N.", "command": "C", "machine": "M", "date": "D"}
    result |= {"columns": ["a"], "rows": [["1"]]}
    text = page({"engine": result, "engine_long": result, "singing": result})
    assert text.count("`C`: M, D.") == 2
    assert "## Transcription" not in text
