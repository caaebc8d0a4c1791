"""The manifest: which tasks are done, and which files may be replaced."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
from works import make_tasks

from harmnmf import FormatError, HarmnmfError
from harmnmf.batch.manifest import Manifest
from harmnmf.batch.task import Outcome, file_hash


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out" / "manifest.jsonl"


@pytest.fixture
def task(tmp_path):
    return make_tasks(tmp_path, "good")[0]


def opened(path, **settings):
    return Manifest(path, settings, version="1.0")


def do(path, task, **settings):
    """Do a task as a run does."""
    with opened(path, **settings) as manifest:
        manifest.begin(task)
        task.outputs[0].write_text("copy")
        manifest.finish(task, Outcome("a copy", seconds=2.0, sha256=file_hash(task.source)))


def is_done(path, task, **settings):
    with opened(path, **settings) as manifest:
        return manifest.is_done(task)


def test_a_finished_task_is_done(path, task):
    assert not is_done(path, task, threshold=0.5)
    assert not path.exists()
    do(path, task, threshold=0.5)
    assert is_done(path, task, threshold=0.5)
    started, done = map(json.loads, path.read_text().splitlines())
    assert started["status"] == "started"
    expected = {
        "status": "done", "input": str(task.source), "sha256": file_hash(task.source),
        "settings": {"threshold": 0.5}, "outputs": ["0.copy"], "seconds": 2.0, "error": None,
        "harmnmf": "1.0",
    }  # fmt: skip
    assert expected.items() <= done.items()


def test_missing_or_changed_files_are_not_done(path, task):
    do(path, task)
    assert not is_done(path, task, threshold=0.5)
    stat = task.source.stat()
    os.utime(task.source, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    assert is_done(path, task)  # touched, and not changed
    text = task.source.read_text()
    task.source.write_text(text[::-1])
    assert not is_done(path, task)
    task.source.write_text(text + text)
    assert not is_done(path, task)
    task.source.write_text(text)
    assert is_done(path, task)
    other = type(task)(task.source, (*task.outputs, path.with_name("0.csv")))
    assert not is_done(path, other)
    task.outputs[0].unlink()
    assert not is_done(path, task)


def test_failed_and_interrupted_tasks_are_not_done(path, task):
    with opened(path) as manifest:
        manifest.begin(task)
    assert not is_done(path, task)
    with opened(path) as manifest:
        # Its leftovers may be replaced.
        assert manifest.own_outputs(task) == {str(task.outputs[0].resolve())}
        manifest.begin(task)
        manifest.finish(task, Outcome(error="is bad", trace="here"))
    task.outputs[0].write_text("copy")
    assert not is_done(path, task)
    record = json.loads(path.read_text().splitlines()[-1])
    assert (record["status"], record["error"], record["trace"]) == ("failed", "is bad", "here")


def test_edited_outputs_are_not_replaced(path, task):
    do(path, task)
    output = str(task.outputs[0].resolve())
    with opened(path) as manifest:
        assert manifest.own_outputs(task) == {output}
    task.outputs[0].write_text("better than that")
    assert is_done(path, task)
    with opened(path) as manifest:
        assert manifest.own_outputs(task) == set()
    with opened(path) as manifest:
        manifest.begin(task)
        assert manifest.own_outputs(task) == {output}


def test_outputs_of_other_recordings_are_not_replaced(tmp_path, path, task):
    do(path, task)
    other = type(task)(tmp_path / "other.txt", task.outputs)
    with opened(path) as manifest:
        assert manifest.own_outputs(other) == set()


def test_outputs_move_with_their_manifest(tmp_path, path, task):
    do(path, task)
    path.parent.rename(tmp_path / "elsewhere")
    moved = type(task)(task.source, (tmp_path / "elsewhere" / "0.copy",))
    assert is_done(tmp_path / "elsewhere" / path.name, moved)


def test_an_incomplete_line_is_ignored(tmp_path, path):
    first, second = make_tasks(tmp_path, "good", "good")
    do(path, first)
    whole = path.read_bytes()
    do(path, second)
    n_begun = path.read_bytes().index(b"\n", len(whole)) + 1
    for end in (len(whole) - 1, len(whole), len(whole) + 10, n_begun, n_begun + 100):
        path.write_bytes(path.read_bytes()[:end])
        # A line counts without its newline.
        assert is_done(path, first)
        assert not is_done(path, second)
        do(path, second)
        assert is_done(path, first)
        assert is_done(path, second)


@pytest.mark.parametrize("text", ["notes of mine\n", "{}\n", "[1]", "[" * 100_000])
def test_other_files_are_not_changed(path, task, recwarn, text):
    path.write_text(text)
    with pytest.raises(FormatError, match="is not a manifest; choose another folder"):
        opened(path)
    assert path.read_text() == text
    assert not recwarn  # the file was closed


@pytest.mark.parametrize("outputs", [[None], ["a\0b"]])
def test_an_invalid_line_is_ignored(path, task, outputs):
    do(path, task)
    record = json.loads(path.read_text().splitlines()[-1])
    with open(path, "a") as file:
        file.write(json.dumps(record | {"outputs": outputs}) + "\n")
    with opened(path) as manifest:
        assert manifest.is_done(task)
        assert len(manifest.own_outputs(task)) == 1


def test_one_run_at_a_time(path, task):
    do(path, task)
    with opened(path), pytest.raises(HarmnmfError, match="in use by another run"):
        opened(path)
    assert is_done(path, task)


def test_a_manifest_that_cannot_be_written(tmp_path, path, task, monkeypatch):
    (tmp_path / "file").write_text("text")
    manifest = opened(tmp_path / "file" / "manifest.jsonl")
    with pytest.raises(HarmnmfError, match=r"manifest\.jsonl: cannot be opened"):
        manifest.begin(task)

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with (
        opened(path) as manifest,
        pytest.raises(HarmnmfError, match="No space left on device"),
    ):
        manifest.begin(task)


def test_changed_companions_are_not_done(path, task, tmp_path):
    notes = tmp_path / "notes.mid"
    notes.write_text("C4")
    with_notes = replace(task, companions=(notes,))
    do(path, with_notes)
    assert is_done(path, with_notes)
    assert not is_done(path, task)
    notes.write_text("D4")
    assert not is_done(path, with_notes)
    do(path, task)
    assert is_done(path, task)


def test_settings_are_compared_as_json(path, task):
    do(path, task, splits=(60, 72))
    assert is_done(path, task, splits=(60, 72))
    assert not is_done(path, task, splits=(60,))


def test_a_folder_is_its_own_until_a_file_in_it_changes(path, task):
    folder = path.parent / "parts"
    task = replace(task, outputs=(folder,))
    with opened(path) as manifest:
        manifest.begin(task)
        folder.mkdir()
        (folder / "left.wav").write_text("left")
        manifest.finish(task, Outcome(sha256=file_hash(task.source)))
    with opened(path) as manifest:
        assert manifest.is_done(task)
        assert manifest.own_outputs(task) == {os.path.realpath(folder)}
        (folder / "left.wav").write_text("edited")
        assert manifest.own_outputs(task) == set()
