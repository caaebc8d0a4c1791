"""Feed the readers of our own formats what strangers may: damaged files, and files that lie.

::

    python -m benchmarks.fuzz --seconds 600

Files of each format are changed by Hypothesis: bytes are flipped, cut off, put in and repeated, and
archives are packed anew with other arrays and metadata. A reader may read such a file or refuse it
by an error of harmnmf in one line. All else has failed: another error, a warning, more than two
seconds, more than 500 MB. What failed is kept in a folder.
"""

from __future__ import annotations

import hashlib
import platform
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

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

from .damage import WORDS, damage, repack, rewrite

LONGEST = 2.0  # seconds
LARGEST = 500 * 2**20  # bytes
AT_ONCE = 200  # tries of a reader before it is the next one's turn
# What makes files anew, with other things in them.
REMADE = {".npz": repack, ".jsonl": rewrite}


@dataclass
class Reader:
    """What reads a format, and files to begin with.

    Parameters
    ----------
    read : callable
        Reads a path.
    suffix : str
        Of its files.
    files : list of bytes
        What valid ones hold.
    """

    read: Callable[[Path], object]
    suffix: str
    files: list[bytes]

    def inputs(self) -> st.SearchStrategy[bytes]:
        """Make files, most of them damaged."""
        words = WORDS[self.suffix]
        damaged = st.sampled_from(self.files).flatmap(lambda content: damage(content, words))
        if self.suffix not in REMADE:
            return damaged
        remade = st.sampled_from(self.files).flatmap(REMADE[self.suffix])
        # Most archives that are damaged are refused for their checksums.
        return st.one_of(damaged, remade, remade)


@dataclass
class Tally:
    """What came of the tries of a reader."""

    read: int = 0
    refused: int = 0
    failed: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0


class Hang(BaseException):
    """Reading took too long."""


def make_readers() -> dict[str, Reader]:
    """Make a few valid files of each format, as small as they can be.

    Returns
    -------
    dict of str to Reader
        By the name of the format.
    """
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)

        def written(suffix: str, *save: Callable[[Path], object]) -> list[bytes]:
            files = []
            for write in save:
                write(path / f"a{suffix}")
                files.append((path / f"a{suffix}").read_bytes())
            return files

        notes = NoteList([0, 0.5, 1], [1, 2, 1.5], [60, 60, 64], [70, 80, 90], pedal=[[0.25, 1.2]])
        return {
            "dictionary": Reader(
                TimbreDictionary.load, ".npz", written(".npz", *(x.save for x in _dictionaries()))
            ),
            "note network": Reader(NoteNetwork.load, ".npz", written(".npz", _note_network().save)),
            "note excerpt": Reader(NoteExcerpt.load, ".npz", written(".npz", _excerpt(notes).save)),
            "enhancement model": Reader(
                load_model,
                ".npz",
                written(".npz", *(partial(_save_model, name) for name in SMALL_MODELS)),
            ),
            "checkpoint": Reader(_load_checkpoint, ".npz", written(".npz", _save_checkpoint)),
            "MIDI": Reader(
                _read_both,
                ".mid",
                written(".mid", partial(write_midi, notes=notes), _save_midi),
            ),
            "table of notes": Reader(
                _read_both,
                ".csv",
                [
                    *written(".csv", partial(write_csv, notes=notes)),
                    b"onset\tkey_offset\tpedal_offset\tnote\tvelocity\n0.5\t1\t2\t60\t70\n",
                ],
            ),
            "manifest": Reader(_read_manifest, ".jsonl", written(".jsonl", _write_manifest)),
        }


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


def _save_checkpoint(path: Path) -> None:
    network, optimizer = _training()
    network(torch.ones(3, 2)).sum().backward()
    optimizer.step()
    save_checkpoint(path, network, optimizer, {"kind": "fuzz", "step": 1})


def _load_checkpoint(path: Path) -> None:
    network, optimizer = _training()
    load_checkpoint(path, network, optimizer, kind="fuzz")
    # What has been read must be of use.
    network(torch.ones(3, 2)).sum().backward()
    optimizer.step()


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
        manifest.own_outputs()


def _read_both(path: Path) -> None:
    for offset in ("pedal", "key"):
        read_notes(path, offset=offset)


def try_file(reader: Reader, path: Path, tally: Tally) -> str | None:
    """Let a reader read a file.

    Parameters
    ----------
    reader : Reader
        The reader.
    path : Path
        The file.
    tally : Tally
        What came of it is added here.

    Returns
    -------
    str or None
        What went wrong, if it is neither read nor refused as it should be.
    """
    read, failure = False, None
    before = _memory(reset=True)
    start = time.process_time()
    with _deadline(LONGEST), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            reader.read(path)
            read = True
        except HarmnmfError as error:
            if str(path) not in str(error) or "\n" in str(error):
                failure = f"not a line that names the file: {error!r}"
        except (Exception, Hang) as error:
            failure = f"{type(error).__name__}: {error}"
    taken = _memory() - before
    tally.slowest = max(tally.slowest, time.process_time() - start)
    tally.largest = max(tally.largest, taken)
    if taken > LARGEST:
        failure = f"takes {taken >> 20} MB"
    if caught:
        failure = f"warns: {caught[0].message}"
    if failure is not None:
        tally.failed.append(failure)
    elif read:
        tally.read += 1
    else:
        tally.refused += 1
    return failure


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise `Hang` after some seconds on a processor."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Hang(f"not done after {seconds:.0f} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _memory(*, reset: bool = False) -> int:
    """Read the largest memory of this process so far, in bytes; or since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x]
    return int(line.split()[1]) * 1024


def explore(reader: Reader, tally: Tally, n_tries: int, start: int, kept: Path) -> None:
    """Try some files with a reader, and keep those that fail.

    Parameters
    ----------
    reader : Reader
        The reader.
    tally : Tally
        What came of it is added here.
    n_tries : int
        Number of files.
    start : int
        Which they are.
    kept : Path
        Folder.
    """

    @seed(start)
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
        failure = try_file(reader, path, tally)
        if failure is not None:
            name = hashlib.sha256(content).hexdigest()[:16]
            path.rename(kept / f"{name}{reader.suffix}")
            (kept / f"{name}.txt").write_text(f"{failure}\n")

    attempt()


@click.command(help=__doc__)
@click.option("--seconds", default=600.0, show_default=True)
@click.option(
    "--keep",
    default=Path("build/fuzz"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the files that fail.",
)
@click.option("--seed", "first", default=0, show_default=True)
def main(seconds: float, keep: Path, first: int) -> None:
    torch.set_num_threads(1)
    keep.mkdir(parents=True, exist_ok=True)
    readers = make_readers()
    tallies = {name: Tally() for name in readers}
    end = time.process_time() + seconds
    while time.process_time() < end:
        for name, reader in readers.items():
            explore(reader, tallies[name], AT_ONCE, first, keep)
        first += 1
    click.echo(
        f"{platform.machine()}, 1 thread, {date.today()}, {seconds:.0f} s of processor time\n"
    )
    click.echo("| reader | tries | read | refused | failed | slowest | most memory |")
    click.echo("|---|---|---|---|---|---|---|")
    for name, tally in tallies.items():
        click.echo(
            f"| {name} | {tally.read + tally.refused + len(tally.failed)} | {tally.read} "
            f"| {tally.refused} | {len(tally.failed)} | {tally.slowest:.2f} s "
            f"| {tally.largest / 2**20:.0f} MB |"
        )
    for name, tally in tallies.items():
        for failure in dict.fromkeys(tally.failed):
            click.echo(f"{name}: {failure}", err=True)


if __name__ == "__main__":
    main()
