"""Features of the note network: levels of a recording's spectra and activations.

Levels are relative to the recording's loud parts, so that its gain does not matter. They are
quantised to a byte, by default in steps of a third of a decibel, to keep training sets small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.errors import FormatError, ParameterError
from harmnmf.nmf.solvers.convolutive import NoteActivations
from harmnmf.nmf.solvers.reverberation import Reverberation
from harmnmf.signal.front_end import FrontEnd
from harmnmf.signal.harmonics import PIANO_PITCHES
from harmnmf.signal.spectrogram import LogFrequency, LowLatency, front_end_from_dict
from harmnmf.validation import as_counts, check_integer, check_number, real_array

__all__ = [
    "UNIT_DB", "FeatureSettings", "NoteFeatures", "SlidingWindow", "typical_room"
]  # fmt: skip

# Limit on the integers in a file.
_LARGEST = 10_000
_FRONT_END = LogFrequency()
_ONSET_FRONT_END = LogFrequency(n_cycles=25.0, min_window=0.03, max_window=0.12)
# The decay of the room that all recordings are analysed with: a hall, but with less reverberation
# than halls have. More gains little in halls, and loses notes where there is none.
_REVERBERATION_TIME = 1.6  # seconds
_REVERBERANT_LEVEL = 1.0  # per second
# Decibels in a unit of the network's input.
UNIT_DB = 20.0


@dataclass(frozen=True, eq=False)
class NoteFeatures:
    """Quantised levels (uint8) of consecutive frames.

    Parameters
    ----------
    spectrum : ndarray of uint8, shape (n_bins, n_frames)
        Levels of the spectrogram that is factorised.
    onset_spectrum : ndarray of uint8, shape (n_bins, n_frames)
        Levels of the same bins with shorter windows.
    activations : ndarray of uint8, shape (n_pitches, n_rows, n_frames)
        Levels of each key's attack and of each of its other timbres; from a stream, those of
        several frames (:class:`SlidingWindow`).
    """

    spectrum: NDArray[np.uint8]
    onset_spectrum: NDArray[np.uint8]
    activations: NDArray[np.uint8]

    def __post_init__(self) -> None:
        shapes = [np.shape(array) for array in self.arrays.values()]
        if [len(shape) for shape in shapes] != [2, 2, 3] or shapes[0] != shapes[1]:
            raise ParameterError(f"two spectra and activations cannot have shapes {shapes}")
        if shapes[2][2] != self.n_frames:
            raise ParameterError("the spectra and the activations have different frames")
        if any(array.dtype != np.uint8 for array in self.arrays.values()):
            raise ParameterError("levels must be bytes (uint8)")

    @property
    def arrays(self) -> dict[str, NDArray[np.uint8]]:
        """The arrays by their names."""
        return dict(vars(self))

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.spectrum.shape[1]

    def __getitem__(self, frames: slice) -> NoteFeatures:
        """Select consecutive frames."""
        return NoteFeatures(*(array[..., frames] for array in self.arrays.values()))

    @classmethod
    def join(cls, parts: Iterable[NoteFeatures]) -> NoteFeatures:
        """Concatenate consecutive parts, at least one."""
        arrays = zip(*(part.arrays.values() for part in parts), strict=True)
        return cls(*(np.concatenate(same, axis=-1) for same in arrays))


@dataclass(frozen=True)
class SlidingWindow:
    """How a stream is factorised, whose future is not known.

    Parameters
    ----------
    n_frames : int, default=10
        Frames whose activations may still change.
    n_step : int, default=2
        Frames by which the window moves on.
    ages : tuple of int, default=(0, 4, 8)
        The features of a frame have the activations of the frames that lie these numbers of frames
        before it: the older they are, the better they are known.

    Raises
    ------
    ParameterError
        If there are no ages, or the window is too short for them.
    """

    n_frames: int = 10
    n_step: int = 2
    ages: tuple[int, ...] = (0, 4, 8)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ages", as_counts("ages", self.ages, 0))
        check_integer("n_frames", self.n_frames, 1, _LARGEST)
        check_integer("n_step", self.n_step)
        if not self.ages or self.n_step + max(self.ages) > self.n_frames:
            raise ParameterError(
                f"the ages must be at least one, and n_step = {self.n_step} frames of each, "
                f"{self.ages}, must lie in the {self.n_frames} frames of the window"
            )


@dataclass(frozen=True)
class FeatureSettings:
    """How features are measured: everything that the weights of a network depend on.

    Parameters
    ----------
    front_end : FrontEnd
        Front end of the dictionary; the default has windows that separate keys, and blur onsets.
    onset_front_end : FrontEnd
        Front end with the same bins and frames, and shorter windows.
    pitches : tuple of int
        MIDI numbers of the dictionary's keys.
    n_attack : int, default=10
        Frames of a key's attack in the dictionary.
    n_rows : int, default=3
        Activations of a key: its attack, and its sustained timbres.
    n_iter : int, default=10
        Iterations of the solver.
    reverberant_level : float, default=1.0
        Level per second of the reverberation in the solver's model; 0 for none.
    floor_db : float, default=-60.0
        Level that is quantised to 0, in dB relative to the recording's loud parts.
    steps_per_db : int, default=3
        Quantisation steps in a decibel.
    sliding : SlidingWindow, optional
        How a stream is factorised. Default: blocks, whose future is known.

    Raises
    ------
    ParameterError
        If the front ends have different bins or frames, or a parameter is out of range.

    Examples
    --------
    >>> settings = FeatureSettings()
    >>> settings.levels(np.array([1.0, 0.1, 0.0], np.float32), reference=1.0)
    array([180, 120,   0], dtype=uint8)
    """

    front_end: FrontEnd = _FRONT_END
    onset_front_end: FrontEnd = _ONSET_FRONT_END
    pitches: tuple[int, ...] = tuple(PIANO_PITCHES)
    n_attack: int = 10
    n_rows: int = 3
    n_iter: int = 10
    reverberant_level: float = _REVERBERANT_LEVEL
    floor_db: float = -60.0
    steps_per_db: int = 3
    sliding: SlidingWindow | None = None

    def __post_init__(self) -> None:
        both = (self.front_end, self.onset_front_end)
        if len({(x.sample_rate, x.hop_length, x.look_ahead, x.axis) for x in both}) > 1:
            raise ParameterError("the two front ends must have the same bins and frames")
        pitches = real_array("pitches", self.pitches)
        if sorted({*pitches.flat} & {*range(128)}) != pitches.tolist() or not pitches.size:
            raise ParameterError("pitches must be ascending MIDI numbers from 0 to 127")
        for name in ("n_attack", "n_rows", "n_iter", "steps_per_db"):
            check_integer(name, getattr(self, name), 1, _LARGEST)
        check_number("reverberant_level", self.reverberant_level, 0)
        check_number("floor_db", self.floor_db, below=0)

    @property
    def n_inputs(self) -> int:
        """Activations of a key in the features of a frame."""
        return self.n_rows * (1 if self.sliding is None else len(self.sliding.ages))

    def room(self, hop_duration: float) -> Reverberation:
        """Make the decay of the room in the solver's model; `hop_duration` is in seconds."""
        return typical_room(hop_duration, self.reverberant_level)

    def measure(
        self,
        spectra: Sequence[NDArray[np.float32]],
        activations: NoteActivations,
        reference: float,
    ) -> NoteFeatures:
        """Measure levels relative to a reference.

        `spectra` are magnitudes of the two front ends, (n_bins, n_frames), and `activations` those
        that the solver found for the first of them; the reference is that of
        :func:`harmnmf.decoder.levels.reference_level`.
        """
        rows = torch.cat([activations.A[:, None], activations.S], dim=1).cpu().numpy()
        return NoteFeatures(*(self.levels(x, reference) for x in (*spectra, rows)))

    def levels(self, x: NDArray[np.float32], reference: float) -> NDArray[np.uint8]:
        """Quantise magnitudes on a scale of decibels relative to the reference."""
        decibels = 20 * np.log10(np.maximum(x, reference * 10 ** (self.floor_db / 20)) / reference)
        steps = np.round((decibels - self.floor_db) * self.steps_per_db)
        return np.clip(steps, 0, 255).astype(np.uint8)

    def tensors(self, features: NoteFeatures) -> tuple[torch.Tensor, ...]:
        """Convert levels to the input of a network: 0 at the floor, and 1 for every 20 dB above."""
        unit = UNIT_DB * self.steps_per_db
        return tuple(torch.from_numpy(array).float() / unit for array in features.arrays.values())

    def check_dictionary(self, dictionary: TimbreDictionary, alternative: str) -> None:
        """Raise ParameterError if a dictionary gives other features; name what else to choose."""
        n_rows = 1 + dictionary.W.shape[2] - dictionary.n_attack
        is_stream = isinstance(self.front_end, LowLatency)
        if isinstance(dictionary.front_end, LowLatency) != is_stream:
            wanted, other = ("streams", "recordings") if is_stream else ("recordings", "streams")
            choice = "live, or one learned with" if is_stream else "default, or one learned without"
            name = dictionary.metadata.get("name", "given")
            raise ParameterError(
                f"the dictionary ({name}) is for {other}, and the network for {wanted}; choose the "
                f"dictionary {choice} --live"
            )
        if (
            dictionary.front_end != self.front_end
            or tuple(dictionary.pitches) != self.pitches
            or (dictionary.n_attack, n_rows) != (self.n_attack, self.n_rows)
        ):
            raise ParameterError(
                "the network needs a dictionary with the front end of its training, the same "
                f"{len(self.pitches)} keys, attacks of {self.n_attack} frames and "
                f"{self.n_rows - 1} sustained timbres; choose another dictionary, or {alternative}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Describe the settings by values that JSON can hold."""
        return {
            **asdict(self),
            "front_end": self.front_end.to_dict(),
            "onset_front_end": self.onset_front_end.to_dict(),
            "pitches": list(self.pitches),
        }

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> FeatureSettings:
        """Build settings from the result of :meth:`to_dict`, or raise FormatError."""
        try:
            # Older files were made without these.
            description = {"reverberant_level": 0.0, "sliding": None, **description}
            values = {field.name: description[field.name] for field in fields(cls)}
            values |= {
                name: front_end_from_dict(values[name]) for name in ("front_end", "onset_front_end")
            }
            if values["sliding"] is not None:
                values["sliding"] = SlidingWindow(**values["sliding"])
            return cls(**{**values, "pitches": tuple(values["pitches"])})
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"damaged settings of features: {error}") from error


def typical_room(hop_duration: float, level: float = _REVERBERANT_LEVEL) -> Reverberation:
    """Make the decay of the room that recordings are analysed with, whatever their room is.

    Parameters
    ----------
    hop_duration : float
        Seconds from frame to frame.
    level : float, default=1.0
        Level of the reverberation per second, relative to the direct sound.
    """
    return Reverberation.of_room(_REVERBERATION_TIME, level, hop_duration)
