"""Notes to a MIDI port while they are heard."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mido import Message

from harmnmf.errors import HarmnmfError
from harmnmf.live.events import Event, NoteOff, NoteOn

if TYPE_CHECKING:
    from mido.ports import BaseOutput

    from harmnmf.live.following import Report

_CLIENT = "harmnmf"  # name of the program, to others that use MIDI
_SUSTAIN, _ALL_NOTES_OFF = 64, 123  # controllers


def open_port(name: str) -> BaseOutput:
    """Open the MIDI output of a name, or make a virtual port if there is none.

    Through mido's backend: python-rtmidi, or what MIDO_BACKEND names. Raises HarmnmfError if that
    is missing, or the system has no MIDI.
    """
    import mido
    from mido.backends.rtmidi_utils import expand_alsa_port_name

    outputs: list[str] = []
    try:
        outputs = mido.get_output_names()
        full_name = expand_alsa_port_name(outputs, name)
        if full_name in outputs:
            return mido.open_output(full_name)
        return mido.open_output(name, virtual=True, client_name=_CLIENT)
    except ImportError as error:
        raise HarmnmfError(
            f"--midi needs the package python-rtmidi ({error}): pip install 'harmnmf[live]'"
        ) from error
    except (OSError, NotImplementedError, ValueError) as error:
        known = ", ".join(outputs) or "none"
        advice = {
            "darwin": "it needs CoreMIDI",
            "win32": f"Windows has no virtual ports, name one of these: {known}",
        }.get(sys.platform, "it needs ALSA, or JACK: MIDO_BACKEND=mido.backends.rtmidi/UNIX_JACK")
        raise HarmnmfError(f"--midi {name}: cannot be opened ({error}); {advice}") from error


class MidiSender:
    """Send events to a MIDI port; no note sounds when the block ends.

    Parameters
    ----------
    port : mido.ports.BaseOutput
        Output of mido. It is closed when the block ends.
    """

    def __init__(self, port: BaseOutput) -> None:
        self._port = port
        self._sounding: set[int] = set()

    def __enter__(self) -> MidiSender:
        return self

    def __exit__(self, *error: object) -> None:
        """End all notes and close the port."""
        try:
            for pitch in sorted(self._sounding):
                self._port.send(Message("note_off", note=pitch))
            # For a port that did not get all that was sent.
            for control in (_SUSTAIN, _ALL_NOTES_OFF):
                self._control(control, 0)
        finally:
            self._port.close()

    def send(self, report: Report) -> None:
        """Send the events of a report."""
        for event in report.events:
            self._send(event)

    def _send(self, event: Event) -> None:
        if isinstance(event, NoteOn):
            self._sounding.add(event.pitch)
            self._port.send(Message("note_on", note=event.pitch, velocity=event.velocity))
        elif isinstance(event, NoteOff):
            self._sounding.discard(event.pitch)
            self._port.send(Message("note_off", note=event.pitch))
        else:
            self._control(_SUSTAIN, 127 if event.is_down else 0)

    def _control(self, control: int, value: int) -> None:
        self._port.send(Message("control_change", control=control, value=value))
