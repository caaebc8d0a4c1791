"""Render the example recording: a performance in MIDI, played by a sampled piano in a small room.

::

    python examples/render.py DATA_DIR

writes example.flac and reference.mid, the notes that sound in it, beside this script.
README.md says where the material comes from.
"""

from __future__ import annotations

import functools
from pathlib import Path

import click
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import correlate, oaconvolve

from harmnmf import NoteList, read_audio, read_notes, write_midi

PERFORMANCE = (
    "piano/performances_free/Scarlatti_Keyboard_Sonata_in_F_minor_K466_uthlSgmBYMc_cut.mid"
)
EXCERPT = (0.9, 22.265)  # seconds: from the first note to the arrival in A flat major
SHORTEST_NOTE = 0.02  # seconds
PIANO = "piano/notes/salamander"

SAMPLE_RATE = 16_000  # that of the piano's samples
SILENCE = 0.5  # seconds before the first note
TAIL = 1.0  # seconds after the last one
PEAK_DB = -3.0
NOISE_DB = -65.0
SEED = 466


def read_performance(path: Path) -> NoteList:
    """Read a file of GiantMIDI-Piano, without overlaps.

    Parameters
    ----------
    path : Path
        The MIDI file.

    Returns
    -------
    NoteList
        With the pedal, and with offsets where keys are released.
    """
    performance = read_notes(path, offset="key").without_overlaps()
    columns = (performance.onset, performance.offset, performance.pitch, performance.velocity)
    # What sounds shorter nobody played: the network that transcribed the recording was wrong.
    played = performance.pedalled().offset - performance.onset > SHORTEST_NOTE
    return NoteList(*np.array(columns)[:, played], performance.pedal)


class SampledPiano:
    """A piano of isolated notes: some of its keys, each recorded at several velocities.

    Parameters
    ----------
    folder : Path
        Notes called ``<MIDI number>_v<layer>.ogg``, of the 16 velocity layers of the Salamander
        Grand Piano.
    """

    # Seconds from the beginning of a note to its attack.
    LEAD = 0.02
    # The recorded levels rise by 20 dB from soft to loud, about as the velocity itself, and
    # players' velocities mean more: sound pressure goes with a power of 1.5 to 2.
    VELOCITY_POWER = 0.7
    # Dampers take 30 dB in these seconds on the lowest key and on the highest that has one.
    DAMPING = (0.15, 0.08)
    DAMPED_KEYS = (21, 88)

    def __init__(self, folder: Path) -> None:
        self._files: dict[int, dict[int, Path]] = {}
        for path in sorted(folder.glob("*_v*.ogg")):
            key, layer = path.stem.split("_v")
            self._files.setdefault(int(key), {})[int(layer)] = path
        if not self._files:
            raise click.UsageError(f"no samples in {folder}")
        # Per piano, so that the samples do not outlive it.
        self._layers = functools.cache(self._read_layers)

    def play(self, pitch: int, velocity: int, duration: float) -> NDArray[np.float32]:
        """Play a note.

        Parameters
        ----------
        pitch, velocity : int
            As in MIDI.
        duration : float
            Seconds from the attack to the fall of the damper.

        Returns
        -------
        ndarray, shape (n_samples,)
            The note, which begins `LEAD` seconds before its attack.
        """
        key = min(self._files, key=lambda sampled: abs(sampled - pitch))
        ratio = 2 ** ((pitch - key) / 12)
        note = soxr.resample(self._strike(key, velocity), ratio * SAMPLE_RATE, SAMPLE_RATE)
        # Transposing by a semitone changes the lead by 1 ms, which is neglected.
        held = np.arange(len(note)) / SAMPLE_RATE - self.LEAD - duration
        if pitch <= self.DAMPED_KEYS[1]:
            damping = np.interp(pitch, self.DAMPED_KEYS, self.DAMPING)
            note, held = note[held < 3 * damping], held[held < 3 * damping]
            note = note * 10 ** (-30 / 20 * np.maximum(held, 0) / damping)
        return _faded(note)

    def _strike(self, key: int, velocity: int) -> NDArray[np.float32]:
        """Interpolate between the layers around a velocity."""
        velocities, samples = self._layers(key)
        above = int(np.clip(np.searchsorted(velocities, velocity), 1, len(velocities) - 1))
        weight = np.interp(velocity, velocities[above - 1 : above + 1], [0.0, 1.0])
        mixed = (1 - weight) * samples[above - 1] + weight * samples[above]
        return mixed * (velocity / 127) ** self.VELOCITY_POWER

    def _read_layers(self, key: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Read the layers of a key, as (velocities, samples), in phase with the loudest one."""
        layers = sorted(self._files[key])
        samples = [read_audio(self._files[key][layer]).samples for layer in layers]
        shift = round(self.LEAD * SAMPLE_RATE) - _attack(samples[-1])
        n_samples = max(len(sample) for sample in samples)
        aligned = [
            _shifted(sample, shift + _lag(sample, samples[-1]), n_samples) for sample in samples
        ]
        # Each of the 16 layers stands for 8 velocities.
        return 8.0 * np.array(layers) - 4, np.array(aligned)


def render(notes: NoteList, piano: SampledPiano, rng: np.random.Generator) -> NDArray[np.float64]:
    """Play notes in a room with a little background noise.

    Parameters
    ----------
    notes : NoteList
        With offsets where the dampers fall, as from `NoteList.pedalled`.
    piano : SampledPiano
        What plays them.
    rng : numpy.random.Generator
        Source of the room and of the noise.

    Returns
    -------
    ndarray, shape (n_samples,)
        Samples at `SAMPLE_RATE`, which last until `TAIL` seconds after the last note.
    """
    audio = np.zeros(round((notes.offset.max() + TAIL) * SAMPLE_RATE))
    for (onset, offset), pitch, velocity in zip(
        notes.intervals, notes.pitch, notes.velocity, strict=True
    ):
        start = round((onset - piano.LEAD) * SAMPLE_RATE)
        note = piano.play(pitch, velocity, offset - onset)[: len(audio) - start]
        audio[start : start + len(note)] += note
    audio = oaconvolve(audio, room_response(rng))[: len(audio)]
    audio *= 10 ** (PEAK_DB / 20) / np.abs(audio).max()
    return audio + 10 ** (NOISE_DB / 20) * rng.standard_normal(len(audio))


def room_response(
    rng: np.random.Generator, *, reverberation_time: float = 0.35, level_db: float = -12.0
) -> NDArray[np.float64]:
    """Make up the impulse response of a room: the direct sound, then noise that decays.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the noise.
    reverberation_time : float
        Seconds in which the noise decays by 60 dB; then it ends.
    level_db : float
        Energy of the noise, relative to the direct sound.

    Returns
    -------
    ndarray, shape (n_samples,)
        The response, whose first sample is the direct sound and equals 1.
    """
    time = np.arange(round(reverberation_time * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(len(time)) * 10 ** (-3 * time / reverberation_time)
    response *= 10 ** (level_db / 20) / np.linalg.norm(response)
    response[0] = 1.0
    return response


def _attack(sample: NDArray[np.float32]) -> int:
    """Find where a sample first comes within 20 dB of its peak, averaged over 1 ms."""
    window = SAMPLE_RATE // 1000
    power = np.convolve(sample[: SAMPLE_RATE // 10] ** 2, np.ones(window), mode="same")
    return int(np.argmax(power > 0.01 * power.max()))


def _lag(sample: NDArray[np.float32], reference: NDArray[np.float32]) -> int:
    """Find the shift, up to 10 ms, that brings a sample into phase with another of its key.

    Layers of a key differ little but in loudness, and their attacks are cut a few milliseconds
    apart: mixed as they are, partials would cancel.
    """
    n_compared, longest = SAMPLE_RATE // 4, SAMPLE_RATE // 100
    correlation = correlate(reference[:n_compared], sample[:n_compared])
    centre = len(sample[:n_compared]) - 1
    return int(np.argmax(correlation[centre - longest : centre + longest + 1])) - longest


def _shifted(sample: NDArray[np.float32], shift: int, n_samples: int) -> NDArray[np.float32]:
    """Move a sample later, or earlier if negative, and cut or pad it to a length."""
    moved = np.pad(_faded(sample), (shift, 0)) if shift > 0 else _faded(sample[-shift:])
    return np.pad(moved, (0, n_samples))[:n_samples]


def _faded(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fade both ends, which would click where a sample was cut: 2 ms in, 50 ms out."""
    index = np.arange(len(samples)) / SAMPLE_RATE
    fade_in, fade_out = index / 0.002, index[::-1] / 0.05
    return samples * np.minimum(1, np.minimum(fade_in, fade_out)).astype(np.float32)


@click.command()
@click.argument("data_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(data_dir: Path) -> None:
    """Render examples/example.flac and examples/reference.mid from the free piano data."""
    here = Path(__file__).parent
    excerpt = read_performance(data_dir / PERFORMANCE).slice(*EXCERPT)
    excerpt = excerpt.shift(SILENCE - excerpt.onset.min())
    sounding = excerpt.pedalled()
    # The network that made the performance hears ends of sounds better than releases of keys.
    # With the pedal in them, the offsets are right for readers that ignore the pedal, too.
    reference = NoteList(
        sounding.onset, sounding.offset, sounding.pitch, sounding.velocity, excerpt.pedal
    )
    audio = render(sounding, SampledPiano(data_dir / PIANO), np.random.default_rng(SEED))
    write_midi(here / "reference.mid", reference)
    # 24 bits would store eight bits of noise with each sample.
    soundfile.write(here / "example.flac", audio, SAMPLE_RATE, subtype="PCM_16")
    click.echo(f"{len(sounding)} notes, {len(audio) / SAMPLE_RATE:.1f} s")


if __name__ == "__main__":
    main()
