"""`harmnmf listen`: notes while they are played."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Callable, Collection
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harmnmf.cli._support.options import COUNT, PATH, Number, quiet_option
from harmnmf.cli._support.paths import check_output
from harmnmf.errors import HarmnmfError
from harmnmf.notes.suffixes import WRITTEN_MIDI_SUFFIXES

if TYPE_CHECKING:
    from harmnmf.cli._support.live_state import LiveState
    from harmnmf.live.device_input import DeviceInput
    from harmnmf.live.following import Report
    from harmnmf.live.inputs import FileInput, PipeInput
    from harmnmf.live.take import Take
    from harmnmf.live.transcriber import LiveTranscriber

# Those of LiveTranscriber, whose import takes long.
LOOK_AHEADS = (60, 120, 200, 320, 500)  # milliseconds
_CALIBRATION = 20.0  # seconds


class _LookAhead(click.ParamType):
    """One of `LOOK_AHEADS`, in milliseconds or in seconds."""

    name = "look-ahead"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Convert the text of an option to seconds."""
        text = "".join(value.lower().split())
        for choice in LOOK_AHEADS:
            seconds = f"{choice / 1000:g}"
            if text in (f"{choice}", f"{choice}ms", seconds, f"{seconds}s"):
                return choice / 1000
        known = ", ".join(map(str, LOOK_AHEADS))
        self.fail(f"{value!r} is not one of {known} (milliseconds)", param, ctx)


@click.command()
@click.option(
    "--input",
    "device",
    metavar="DEVICE",
    help="Audio input: its number, name or a part of its name, as --list shows.  [default: that of "
    "the system]",
)
@click.option(
    "--stdin",
    is_flag=True,
    help="Hear raw samples from standard input: 16-bit little-endian, channels interleaved.",
)
@click.option(
    "--rate",
    type=click.IntRange(1000, 768_000),
    default=44100,
    metavar="HZ",
    help="With --stdin: samples per second.",
)
@click.option("--channels", type=COUNT, default=2, metavar="N", help="With --stdin: channels.")
@click.option(
    "--play",
    type=PATH,
    metavar="FILE",
    help="Hear a recording (WAV, FLAC, MP3, ...) as if it were played now; it is not made audible.",
)
@click.option("--fast", is_flag=True, help="With --play: as fast as possible, not in real time.")
@click.option("--list", "is_list", is_flag=True, help="List the audio inputs, and exit.")
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE.mid",
    help="Write a MIDI file when the input ends, and what was heard to FILE.wav meanwhile.",
)
@click.option("--overwrite", is_flag=True, help="Replace existing files, or a kept piano.")
@click.option(
    "--json", "is_json", is_flag=True, help="Print events as JSON, one a line, for programs."
)
@click.option(
    "--midi",
    metavar="PORT",
    help="Send events to the MIDI output of this name, or to a virtual port that others can "
    "connect to if there is none.",
)
@click.option(
    "--look-ahead",
    type=_LookAhead(),
    default="200",
    metavar="|".join(map(str, LOOK_AHEADS)),
    help="Milliseconds after its onset that are heard before a note is sent: the longer, the "
    "better. Shortened while the computer is too slow.",
)
@click.option(
    "--onset-threshold",
    type=Number(0, 1),
    metavar="NUMBER",
    help="Onset threshold, a probability; a higher one gives fewer notes.  [default: 0.4]",
)
@click.option(
    "--calibrate",
    metavar="NAME",
    help="Hear 20 seconds, or all that is played by --play, and keep what was learnt of the piano, "
    "its room and microphone by this name.",
)
@click.option("--piano", metavar="NAME", help="Begin with what --calibrate has kept by this name.")
@click.option(
    "--dictionary",
    default="live",
    metavar="NAME|FILE",
    help="Timbre dictionary: live, or a file from `harmnmf learn --live`.",
)
@click.option(
    "--network",
    default="live",
    metavar="NAME|FILE",
    help="Network: live, or a file from `harmnmf train live`.",
)
@quiet_option
@click.pass_context
def command(
    ctx: click.Context,
    device: str | None,
    stdin: bool,
    rate: int,
    channels: int,
    play: Path | None,
    fast: bool,
    is_list: bool,
    output: Path | None,
    overwrite: bool,
    is_json: bool,
    midi: str | None,
    look_ahead: float,
    onset_threshold: float | None,
    calibrate: str | None,
    piano: str | None,
    dictionary: str,
    network: str,
    quiet: bool,
) -> None:
    """Transcribe the piano while it is played.

    Prints a line for each event: seconds since the beginning, and the note with its velocity (1 to
    127) and confidence (0 to 1), the end of a note, or the sustain pedal. On a terminal, a display
    has the keyboard, the level and the last events instead.

    It ends with the input, or by Ctrl-C: nothing is lost then, and the exit code is 0. With -o
    take.mid, take.wav has what was heard. If the program or the computer crashes, the recording and
    the events up to the last second are there; `harmnmf convert take.jsonl` makes a MIDI file of
    them.

    Audio inputs and MIDI ports need pip install 'harmnmf[live]'.

    \b
    Examples:
      harmnmf listen
      harmnmf listen --input usb -o take.mid --midi Piano
      harmnmf listen --calibrate upright
      harmnmf listen --piano upright --look-ahead 320 --json
      harmnmf listen --play song.wav --fast -o notes.mid
      arecord -f S16_LE -r 44100 -c 2 -t raw | harmnmf listen --stdin
    """  # noqa: D301 (click needs the backspace itself)
    given = {
        param.opts[-1]
        for param in ctx.command.params
        if ctx.get_parameter_source(str(param.name)) is click.core.ParameterSource.COMMANDLINE
    }
    _check_options(given)
    if is_list:
        _list_inputs()
        return
    if output is not None:
        _check_take(output, play, overwrite=overwrite)
    if calibrate is not None:
        _check_calibration(calibrate, overwrite=overwrite)

    import torch

    from harmnmf.cli._support.live_session import ended_by_signals, shown
    from harmnmf.cli._support.live_state import LiveState
    from harmnmf.cli._support.midi_port import MidiSender, open_port
    from harmnmf.live.calibration import LiveCalibration
    from harmnmf.live.following import follow
    from harmnmf.live.take import Take
    from harmnmf.live.transcriber import LiveTranscriber

    def say(line: str) -> None:
        if not quiet:
            click.echo(f"harmnmf: {line}", err=True)

    # Steps of 40 ms are too short to share: threads would only wait for each other.
    torch.set_num_threads(1)
    calibration = None if piano is None else LiveCalibration.load(piano)
    port = None if midi is None else open_port(midi)
    source = _open_source(device, play, is_fast=fast, stdin=(rate, channels) if stdin else None)
    transcriber = LiveTranscriber(
        source.sample_rate,
        look_ahead=look_ahead,
        dictionary=dictionary,
        network=network,
        onset_threshold=onset_threshold,
        calibration=calibration,
    )
    state = LiveState(source, look_ahead)
    duration = _CALIBRATION if calibrate is not None and play is None else math.inf
    try:
        with ExitStack() as stack:
            stack.enter_context(source)
            following = follow(source, transcriber)
            stack.callback(following.stop)
            stack.enter_context(ended_by_signals(following))
            outputs: list[Callable[[Report], None]] = []
            if output is not None:
                take = Take(output, source.sample_rate, source.n_channels, overwrite=overwrite)
                outputs.append(partial(_write, stack.enter_context(take)))
            if port is not None:
                outputs.insert(0, stack.enter_context(MidiSender(port)).send)
            show = stack.enter_context(shown(state, is_json=is_json, is_quiet=quiet))
            unshown: OSError | None = None  # why standard output cannot be written
            for report in following:
                state.update(report)
                for write in outputs:
                    write(report)
                if unshown is None:
                    try:
                        show(report)
                    except OSError as error:
                        unshown = error
                if report.time >= duration or unshown is not None:
                    following.stop()
            if isinstance(unshown, BrokenPipeError):
                raise unshown
            if unshown is not None:
                raise HarmnmfError(
                    f"standard output: cannot be written ({unshown.strerror})"
                ) from unshown
    except BrokenPipeError:
        if output is not None:
            say(f"the program that reads the events has ended; {output} has {state.describe()}")
        raise
    except (HarmnmfError, OSError):
        if state.time:
            say(state.describe())
        raise
    say(state.describe())
    if calibrate is not None:
        say(_keep(transcriber, calibrate, state))


def _check_options(given: Collection[str]) -> None:
    """Raise click.UsageError if options contradict, or have no effect."""
    for names in (
        ("--input", "--stdin", "--play"),
        ("--calibrate", "--piano"),
        ("--json", "--quiet"),
        *(("--list", name) for name in sorted(given) if name != "--list"),
    ):
        if len(used := [name for name in names if name in given]) > 1:
            raise click.UsageError(f"{used[0]} and {used[1]} exclude each other")
    for name, others in {
        "--rate": ("--stdin",),
        "--channels": ("--stdin",),
        "--fast": ("--play",),
        "--overwrite": ("--output", "--calibrate"),
    }.items():
        if name in given and not any(other in given for other in others):
            raise click.UsageError(f"{name} is for {' or '.join(others)}")


def _check_take(output: Path, play: Path | None, *, overwrite: bool) -> None:
    """Raise an error if a take cannot be written; before anything is heard."""
    if output.suffix.lower() not in WRITTEN_MIDI_SUFFIXES:
        known = " or ".join(WRITTEN_MIDI_SUFFIXES)
        raise click.UsageError(
            f"{output}: a take is a MIDI file; name it {known}, and make other "
            "formats of it with `harmnmf convert` or `harmnmf score`"
        )
    recording = output.with_suffix(".wav")
    if play is not None and _are_same(play, recording):
        raise click.UsageError(
            f"{output}: what is heard is written to {recording}, which is played; choose another "
            "name"
        )
    for path in (output, recording):
        check_output(path, overwrite=overwrite)


def _are_same(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)


def _check_calibration(name: str, *, overwrite: bool) -> None:
    """Raise an error if a calibration cannot be kept by a name, or in a file."""
    from harmnmf.live.calibration import calibration_path

    path = calibration_path(name)
    check_output(path, overwrite=overwrite, folder_may_be_missing=not os.path.dirname(name))


def _list_inputs() -> None:
    from harmnmf.live.device_input import input_devices

    devices = input_devices()
    if not devices:
        raise HarmnmfError("this computer has no audio input; plug one in, or use --stdin")
    for number, name in devices.items():
        click.echo(f"{number:3d}  {name}")


def _open_source(
    device: str | None, play: Path | None, *, is_fast: bool, stdin: tuple[int, int] | None
) -> DeviceInput | FileInput | PipeInput:
    """Open what is heard; `stdin` has the sample rate and the channels of standard input."""
    if play is not None:
        from harmnmf.live.inputs import FileInput

        return FileInput(play, is_fast)
    if stdin is not None:
        from harmnmf.live.inputs import PipeInput

        if sys.stdin.isatty():
            raise HarmnmfError(
                "--stdin: standard input is the terminal; write the samples of a program to it: "
                "arecord ... | harmnmf listen --stdin"
            )
        return PipeInput(sys.stdin.buffer, *stdin)
    from harmnmf.live.device_input import DeviceInput

    return DeviceInput(device)


def _write(take: Take, report: Report) -> None:
    take.write(report.samples)
    take.add(report.events)


def _keep(transcriber: LiveTranscriber, name: str, state: LiveState) -> str:
    """Keep what was learnt of a piano; return a line about it."""
    if not state.n_notes:
        raise HarmnmfError(
            f"--calibrate {name}: nothing is kept, as no notes were heard; check the input and its "
            "level"
        )
    calibration = transcriber.calibration()
    calibration.save(name)
    return (
        f"{name} is kept, after {state.time:.0f} s: tuned {100 * calibration.tuning:+.0f} cents "
        f"from A4 = 440 Hz; use it with --piano {shlex.quote(name)}"
    )
