"""Fuzzing of the readers of harmnmf's file formats with damaged and malformed files.

::

    python -m benchmarks.fuzz --seconds 600

Hypothesis changes valid files: bytes are flipped, cut off, inserted and repeated, and the
arrays and metadata of safetensors files are changed. A reader must return a result, perhaps with a
UserWarning, or raise a HarmnmfError; both are one line that names the file. Everything else is a
failure: another error or warning, more than two seconds, more than 500 MB. Files that fail are
kept.
"""

from __future__ import annotations

import hashlib
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import mido
import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from torch import nn

from harmnmf import HarmnmfError, NoteList, TimbreDictionary, read_notes, write_csv, write_midi
from harmnmf.batch.manifest import Manifest
from harmnmf.batch.task import Outcome, Task
from harmnmf.decoder.excerpts import NoteExcerpt
from harmnmf.decoder.features import NoteFeatures
from harmnmf.decoder.network import NoteNetwork, NoteNetworkConfig
from harmnmf.enhancement.models.registry import build_model, load_model, save_model
from harmnmf.signal.spectrogram import STFT, LogFrequency
from harmnmf.training.checkpoint import load_checkpoint, save_checkpoint

from .damage import REMADE, WORDS, damaged
from .report import help_text

MAX_SECONDS = 2.0
MAX_BYTES = 500 * 2**20
TRIES_AT_ONCE = 200


@dataclass
class Reader:
    """A reader and valid files to begin with."""

    read: Callable[[Path], object]
    suffix: str
    files: list[bytes]

    def inputs(self) -> st.SearchStrategy[bytes]:
        """Build a strategy for files, most of them damaged."""
        valid, words = st.sampled_from(self.files), WORDS[self.suffix]
        strategies = [valid.flatmap(lambda content: damaged(content, words))]
        if self.suffix in REMADE:
            # Most files with changed bytes are rejected early.
            strategies += 2 * [valid.flatmap(REMADE[self.suffix])]
        return st.one_of(strategies)


class Attempt(NamedTuple):
    """The outcome of reading one file: "read", "rejected" or a description of the failure."""

    outcome: str
    seconds: float
    n_bytes: int


def make_readers() -> dict[str, Reader]:
    """Make small valid files of each format."""
    torch.manual_seed(0)
    notes = NoteList([0, 0.5, 1], [1, 2, 1.5], [60, 60, 64], [70, 80, 90], pedal=[[0.25, 1.2]])
    table = b"onset\tkey_offset\tpedal_offset\tnote\tvelocity\n0.5\t1\t2\t60\t70\n"
    arrays = partial(_reader, ".safetensors")
    return {
        "dictionary": arrays(TimbreDictionary.load, *(x.save for x in _dictionaries())),
        "note network": arrays(NoteNetwork.load, _note_network().save),
        "note excerpt": arrays(NoteExcerpt.load, _excerpt(notes).save),
        "enhancement model": arrays(load_model, *(partial(_save_model, x) for x in SMALL_MODELS)),
        "checkpoint": arrays(_load_checkpoint, _save_checkpoint),
        "MIDI": _reader(".mid", _read_both, partial(write_midi, notes=notes), _save_midi),
        "table of notes": _reader(
            ".csv",
            _read_both,
            partial(write_csv, notes=notes),
            lambda path: path.write_bytes(table),
        ),
        "manifest": _reader(".jsonl", _read_manifest, _write_manifest),
    }


def _reader(
    suffix: str, read: Callable[[Path], object], *writers: Callable[[Path], object]
) -> Reader:
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for write in writers:
            path = Path(folder, f"a{suffix}")
            write(path)
            files.append(path.read_bytes())
    return Reader(read, suffix, files)


SMALL_MODELS: dict[str, dict[str, Any]] = {
    "harmonic-light": {
        "n_channels": 2, "n_bands": 5, "n_features": 2, "n_heads": 1, "n_blocks": 1,
        "n_candidates": 3,
    },
    "harmonic-attention": {"n_channels": (2,)},
    "harmonic-refinement": {"n_channels": 4, "n_blocks": 1},
    "spectrum-attention-fusion": {
        "n_channels": 2, "n_blocks": 1, "n_heads": 1, "kernel_size": 3, "time_dilations": (1,),
    },
    "spectrogram-fusion": {"lstm_size": 2, "n_lstm_layers": 1, "hidden_size": 2, "n_heads": 1},
}  # fmt: skip


def _dictionaries() -> list[TimbreDictionary]:
    linear = STFT(sample_rate=1600, hop_length=32, n_fft=64)
    logarithmic = LogFrequency(
        1600, hop_length=32, n_fft=256, bins_per_octave=12, n_bins=20, max_window=0.1
    )
    return [
        TimbreDictionary(np.ones((n_bins, 2, 3)), np.array([60, 64]), front_end, 2, 0.02)
        for front_end, n_bins in ((linear, 33), (logarithmic, 20))
    ]


def _note_network() -> NoteNetwork:
    config = NoteNetworkConfig(
        n_channels=2, n_partials=2, time_dilations=(1, 2), key_dilations=(12, 1)
    )
    return NoteNetwork(config, {"about": "nothing"})


def _excerpt(notes: NoteList) -> NoteExcerpt:
    levels = np.zeros((390, 9), np.uint8)
    return NoteExcerpt(NoteFeatures(levels, levels, np.zeros((88, 3, 9), np.uint8)), notes, 0.02)


def _save_model(name: str, path: Path) -> None:
    save_model(path, name, build_model(name, **SMALL_MODELS[name]), {"about": "nothing"})


def _training() -> tuple[nn.Module, torch.optim.Optimizer]:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    return network, torch.optim.AdamW(network.parameters())


def _train(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    network(torch.ones(3, 2)).sum().backward()
    optimizer.step()


def _save_checkpoint(path: Path) -> None:
    network, optimizer = _training()
    _train(network, optimizer)
    save_checkpoint(path, network, optimizer, {"kind": "fuzz", "step": 1})


def _load_checkpoint(path: Path) -> None:
    network, optimizer = _training()
    load_checkpoint(path, network, optimizer, kind="fuzz")
    _train(network, optimizer)


def _save_midi(path: Path) -> None:
    message, meta = mido.Message, mido.MetaMessage
    tracks = [
        [meta("set_tempo", tempo=1_000_000), meta("key_signature", key="C", time=9), meta("text")],
        [message("note_on", note=60, channel=1), message("note_off", note=60, time=9, channel=1)],
        [message("sysex", data=(1, 2)), message("pitchwheel"), message("program_change")],
    ]
    mido.MidiFile(tracks=[mido.MidiTrack(track) for track in tracks]).save(path)


def _task(folder: Path) -> Task:
    return Task(folder / "song.wav", (folder / "song.mid",))


def _write_manifest(path: Path) -> None:
    task = _task(path.parent)
    for file in (task.source, *task.outputs):
        file.write_bytes(b"content")
    with Manifest(path, {"option": 1}, version="1") as manifest:
        manifest.begin(task)
        manifest.finish(task, Outcome("12 notes"))


def _read_manifest(path: Path) -> None:
    with Manifest(path, {"option": 1}, version="1") as manifest:
        manifest.is_done(_task(path.parent))
        manifest.own_outputs(_task(path.parent))


def _read_both(path: Path) -> None:
    for offset in ("pedal", "key"):
        read_notes(path, offset=offset)


def try_file(reader: Reader, path: Path) -> Attempt:
    """Read a file."""
    outcome = "read"
    before = _peak_memory(reset=True)
    start = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            reader.read(path)
        except HarmnmfError as error:
            outcome = "rejected"
            if not _is_line_about(path, error):
                outcome = f"not a line that names the file: {error!r}"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
    seconds, n_bytes = time.process_time() - start, _peak_memory() - before
    if seconds > MAX_SECONDS:
        outcome = f"takes {seconds:.1f} s"
    if n_bytes > MAX_BYTES:
        outcome = f"takes {n_bytes >> 20} MB"
    for item in caught:
        if item.category is not UserWarning or not _is_line_about(path, item.message):
            outcome = f"warns: {item.message}"
    return Attempt(outcome, seconds, n_bytes)


def _is_line_about(path: Path, message: object) -> bool:
    return str(path) in str(message) and "\n" not in str(message)


def _peak_memory(*, reset: bool = False) -> int:
    """Return the peak memory of this process since the last reset, in bytes (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x]
    return int(line.split()[1]) * 1024


def explore(reader: Reader, n_tries: int, first: int, kept: Path) -> list[Attempt]:
    """Try some files with a reader, and keep those that fail."""
    attempts = []

    @seed(first)
    @settings(
        max_examples=n_tries,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(reader.inputs())
    def attempt(content: bytes) -> None:
        path = kept / f"attempt{reader.suffix}"
        path.write_bytes(content)
        attempts.append(try_file(reader, path))
        if attempts[-1].outcome not in ("read", "rejected"):
            path.rename(kept / f"{hashlib.sha256(content).hexdigest()[:16]}{reader.suffix}")

    attempt()
    return attempts


@click.command(help=help_text(__doc__))
@click.option("--seconds", default=600.0, show_default=True)
@click.option(
    "--keep",
    default=Path("build/fuzz"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for files that fail.",
)
@click.option("--seed", "first", default=0, show_default=True)
def main(seconds: float, keep: Path, first: int) -> None:
    torch.set_num_threads(1)
    keep.mkdir(parents=True, exist_ok=True)
    readers = make_readers()
    attempts: dict[str, list[Attempt]] = {name: [] for name in readers}
    end = time.process_time() + seconds
    while time.process_time() < end:
        for name, reader in readers.items():
            attempts[name] += explore(reader, TRIES_AT_ONCE, first, keep)
        first += 1
    click.echo(
        f"{platform.machine()}, 1 thread, {date.today()}, {seconds:.0f} s of processor time\n"
    )
    click.echo("| reader | tries | read | rejected | failed | slowest | most memory |")
    click.echo("|---|---|---|---|---|---|---|")
    for name, tries in attempts.items():
        outcomes = [attempt.outcome for attempt in tries]
        n_read, n_rejected = outcomes.count("read"), outcomes.count("rejected")
        n_failed = len(tries) - n_read - n_rejected
        click.echo(
            f"| {name} | {len(tries)} | {n_read} | {n_rejected} | {n_failed} "
            f"| {max(attempt.seconds for attempt in tries):.2f} s "
            f"| {max(attempt.n_bytes for attempt in tries) / 2**20:.0f} MB |"
        )
    for name, tries in attempts.items():
        for failure in {attempt.outcome for attempt in tries} - {"read", "rejected"}:
            click.echo(f"{name}: {failure}", err=True)


if __name__ == "__main__":
    main()
