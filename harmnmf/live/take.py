"""Takes: what is kept of a live transcription."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BufferedReader, FileIO
from pathlib import Path

from numpy.typing import ArrayLike

from harmnmf.errors import HarmnmfError, ParameterError
from harmnmf.notes.midi_writing import write_midi
from harmnmf.notes.suffixes import WRITTEN_MIDI_SUFFIXES

from .event_lines import event_from_line, event_to_line
from .events import Event, notes_from_events
from .recording import WavRecording

__all__ = ["Take"]

_INTERVAL = 0.5  # seconds


class Take:
    """MIDI file of a live transcription, with the recording beside it.

    ``take.mid`` is written when the take is finished. The recording goes to ``take.wav`` while it
    is made (:class:`harmnmf.live.recording.WavRecording`), and each event at once to
    ``take.jsonl``, which is removed when ``take.mid`` is written. If the program is killed, both
    are there, and :func:`harmnmf.read_notes` reads the events; if the computer fails, at most the
    last second is lost. Events that cannot be written, since the disk is full, are kept in memory
    until they can.

    A take is a context manager that is finished in any case.

    Parameters
    ----------
    path : str or Path
        MIDI file to write, with the suffix ``.mid`` or ``.midi``.
    sample_rate : int
        Samples per second of the recording.
    n_channels : int
        Channels of the recording.
    overwrite : bool, default=False
        Whether ``take.mid`` and ``take.wav`` are replaced if they exist. The events of a take that
        was not finished, or goes on, never are.

    Raises
    ------
    HarmnmfError
        If one of the files exists, or they cannot be created.
    ParameterError
        If a parameter is out of range.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from harmnmf import NoteOff, NoteOn, read_notes
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Take(Path(folder, "take.mid"), sample_rate=44100, n_channels=1) as take:
    ...         take.write(np.zeros(44100))
    ...         take.add([NoteOn(0.5, 60, 80, 0.9), NoteOff(1.0, 60)])
    ...     read_notes(take.path).pitch, sorted(os.listdir(folder))
    (array([60]), ['take.mid', 'take.wav'])
    """

    def __init__(
        self, path: str | Path, sample_rate: int, n_channels: int, *, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        if self.path.suffix.lower() not in WRITTEN_MIDI_SUFFIXES:
            known = " or ".join(WRITTEN_MIDI_SUFFIXES)
            raise ParameterError(f"{path}: must be named {known}, as it is MIDI")
        recording = self.path.with_suffix(".wav")
        self._journal_path = self.path.with_suffix(".jsonl")
        self._check_folder()
        for file in (self.path, recording):
            self._check_output(file)
        try:
            self._journal = FileIO(self._journal_path, "x+")
        except OSError as error:
            raise _not_created(self._journal_path, error) from error
        self._n_bytes = 0  # of the journal
        self._unwritten = b""
        self._is_full = self._is_finished = False
        try:
            self._recording = WavRecording(recording, sample_rate, n_channels, overwrite=overwrite)
        except (OSError, ParameterError) as error:
            self._journal.close()
            self._journal_path.unlink()
            if isinstance(error, OSError):
                raise _not_created(recording, error) from error
            raise
        self._end = threading.Event()
        self._syncing = threading.Thread(target=self._sync, daemon=True)
        self._syncing.start()

    def __enter__(self) -> Take:
        return self

    def __exit__(self, *error: object) -> None:
        self.finish()

    def write(self, samples: ArrayLike) -> None:
        """Append samples to the recording.

        Parameters
        ----------
        samples : array_like, shape (n_channels, n_samples) or (n_samples,)
            Samples with full scale at ±1; the latter shape for a single channel.

        Warns
        -----
        UserWarning
            If the recording goes on in another file, or stops, as the disk is full.
        """
        self._recording.write(samples)

    def add(self, events: Iterable[Event]) -> None:
        """Keep events.

        Parameters
        ----------
        events : iterable of Event
            Events in the order in which they were returned.

        Warns
        -----
        UserWarning
            If they cannot be written to the disk for now.
        """
        self._unwritten += "".join(f"{event_to_line(event)}\n" for event in events).encode()
        self._write_events()

    def finish(self) -> None:
        """End the recording, write the MIDI file, and remove the file with the events.

        Raises
        ------
        HarmnmfError
            If the MIDI file cannot be written; the events stay.
        """
        if self._is_finished:
            return
        self._is_finished = True
        self._end.set()
        self._syncing.join()
        self._recording.close()
        self._write_events()
        try:
            with self._journal:
                notes = notes_from_events(self._events(), self._recording.duration or None)
            self._check_output(self.path)  # which may have appeared
            write_midi(self.path, notes)
        except (HarmnmfError, OSError) as error:
            n_lost = self._unwritten.count(b"\n")
            most = f" but for the last {n_lost}" if n_lost else ""
            raise HarmnmfError(
                f"{error}; the events{most} are kept in {self._journal_path}, of which `harmnmf "
                f'convert "{self._journal_path}"` makes a MIDI file'
            ) from error
        self._journal_path.unlink(missing_ok=True)

    def _check_folder(self) -> None:
        folder = self.path.parent
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist; create it first"
            raise HarmnmfError(f"{self.path}: the folder {folder} {what}")
        if os.path.lexists(self._journal_path):
            raise HarmnmfError(
                f"{self._journal_path}: has the events of a take that was cut off, or goes on; "
                f'make a MIDI file of it with `harmnmf convert "{self._journal_path}"` and '
                "remove it, or choose another name"
            )

    def _check_output(self, path: Path) -> None:
        if path.exists() and not path.is_file():
            raise HarmnmfError(f"{path}: is not a plain file; choose another name")
        if path.exists() and not self._overwrite:
            raise HarmnmfError(f"{path}: exists already; choose another name, or use --overwrite")

    def _sync(self) -> None:
        """Flush what is written to the disk, again and again: in a thread, as it may take long."""
        while not self._end.wait(_INTERVAL):
            for file in (self._journal, self._recording):
                with suppress(OSError, ValueError):  # the file was closed meanwhile
                    os.fsync(file.fileno())

    def _write_events(self) -> None:
        """Append the events that are not written yet, whole lines or none."""
        if not self._unwritten:
            return
        try:
            self._journal.seek(self._n_bytes)
            rest = self._unwritten
            while rest:  # a full disk takes a part before it refuses
                rest = rest[self._journal.write(rest) :]
        except OSError as error:
            with suppress(OSError):
                self._journal.truncate(self._n_bytes)
            if not self._is_full:
                warnings.warn(
                    f"{self._journal_path}: cannot be written ({error.strerror}); events are kept "
                    "in memory until there is room on the disk",
                    stacklevel=3,
                )
            self._is_full = True
        else:
            self._n_bytes += len(self._unwritten)
            self._unwritten = b""

    def _events(self) -> Iterator[Event]:
        """All events, read back."""
        self._journal.seek(0)
        for lines in (BufferedReader(self._journal), self._unwritten.splitlines()):
            for line in lines:
                yield event_from_line(line.decode())


def _not_created(path: Path, error: OSError) -> HarmnmfError:
    return HarmnmfError(f"{path}: cannot be created ({error.strerror}); choose another place")
