"""Separation of recordings into the sounds of groups of their notes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from os import PathLike

import numpy as np
import torch

from harmnmf.device import resolve_device
from harmnmf.dictionary.alignment import estimate_offset, notes_fit
from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.errors import AudioError, ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import Audio
from harmnmf.signal.reading import audio_info, audio_name
from harmnmf.signal.tuning import relative_tuning, transform_in_tune
from harmnmf.validation import check_flag

from .excerpt import magnitudes, read_excerpt
from .factorization import (
    ScoreActivations,
    estimate_score_activations,
    learn_spectra,
    noise_bands,
)
from .framing import Framing, stream_spectra
from .groups import Groups, group_by_hand
from .prepared import PreparedSeparation
from .sound_model import SoundModel, join_activations
from .sounding import SoundingNotes
from .spectra import N_TIMBRES, key_spectra

__all__ = ["Separator", "separate"]

_LONGEST_BLOCK = 320  # frames whose activations are estimated at once
# Floor of the solver, relative to the mean magnitude.
_FLOOR = 1e-3


class Separator:
    """Separate piano recordings into the sounds of their notes, which are given.

    The spectra of the keys start as partials with the magnitudes of a timbre dictionary, and are
    learned from the recording: its magnitudes are factorised with activations that are zero where
    the notes do not sound [1]_ [2]_. Each note gets its share of the power of the model in every
    bin and frame (Wiener filter), with the phase of the recording, in every channel.

    Parameters
    ----------
    dictionary : TimbreDictionary, str or path-like, default="default"
        A dictionary with two timbres besides the frames of the attack, the name of a shipped one,
        or a file.
    adapt : bool, default=True
        Learn the spectra of the keys from the recording, from up to three minutes of it.
    device : str, default="auto"
        PyTorch device, or "auto" for a GPU if there is one.

    Raises
    ------
    HarmnmfError
        If there is no such dictionary, or (FormatError) its file is damaged.
    ParameterError
        If the dictionary has another number of timbres, or the device is not available.

    References
    ----------
    .. [1] S. Ewert and M. Müller, "Using score-informed constraints for NMF-based source
       separation", ICASSP 2012, pp. 129-132.
    .. [2] R. Hennequin, B. David and R. Badeau, "Score informed audio source separation using a
       parametric model of non-negative spectrogram", ICASSP 2011, pp. 45-48.

    Examples
    --------
    >>> t = np.arange(16000) / 16000
    >>> tones = [np.exp(-3 * t) * np.sin(2 * np.pi * hz * t) for hz in (220, 330)]
    >>> notes = NoteList([0.1, 0.1], [0.9, 0.9], [57, 64], [80, 80])
    >>> audio = Audio(np.pad(0.2 * sum(tones), (1600, 0)), 16000)
    >>> separation = Separator().prepare(audio, notes)
    >>> start, low = separation.note(0)
    >>> round(start, 2), int(np.abs(np.fft.rfft(low.samples, 16000)).argmax())
    (0.0, 220)
    """

    def __init__(
        self,
        dictionary: TimbreDictionary | str | PathLike[str] = "default",
        *,
        adapt: bool = True,
        device: str = "auto",
    ) -> None:
        check_flag("adapt", adapt)
        name = "the dictionary"
        if not isinstance(dictionary, TimbreDictionary):
            name = str(dictionary)
            dictionary = TimbreDictionary.load(dictionary)
        n_sustained = dictionary.W.shape[2] - dictionary.n_attack
        if n_sustained != N_TIMBRES - 1:
            raise ParameterError(
                f"{name}: must have two timbres besides the frames of the attack, not {n_sustained}"
            )
        self.dictionary = dictionary
        self.adapt = adapt
        self.device = str(resolve_device(device))

    def prepare(
        self,
        source: Audio | str | PathLike[str],
        notes: NoteList,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> PreparedSeparation:
        """Learn the sounds of the keys of a recording, and find the activations of its notes.

        Parameters
        ----------
        source : Audio, str or path-like
            The recording, with any sample rate and channels.
        notes : NoteList
            Its notes, with key offsets and the pedal, or with the ends of the sounds. All may be
            early or late by the same time, up to 0.1 s.
        progress : callable, optional
            Called with the seconds of audio done so far.

        Returns
        -------
        PreparedSeparation
            Gives any parts of the recording.

        Raises
        ------
        AudioError
            If the recording cannot be read, or is silent where its notes begin.
        ParameterError
            If there are no notes, or one begins after the recording, or is of a key that the
            dictionary lacks.

        Warns
        -----
        UserWarning
            If the notes seem not to be those of the recording.
        """
        name = audio_name(source)
        if len(notes) == 0:
            raise ParameterError(f"{name}: there are no notes to separate it into")
        missing = np.setdiff1d(notes.pitch, self.dictionary.pitches)
        if len(missing):
            raise ParameterError(
                f"{name}: a note has the pitch {missing[0]}, which is not in the dictionary"
            )
        framing = Framing(audio_info(source).sample_rate)
        excerpt = read_excerpt(source, notes, framing, _half(progress, 0.0))
        duration = excerpt.n_samples / framing.sample_rate
        if excerpt.audio is None or notes.onset[-1] > duration:
            raise ParameterError(
                f"{name}: ends at {duration:.1f} s, but a note begins at {notes.onset[-1]:.1f} s"
            )
        level = float(torch.cat([V.mean(dim=0) for V in excerpt.V]).mean())
        if not level > 0:
            raise AudioError(f"{name}: is silent where its notes begin")
        tuning, offset = self._align(excerpt.audio, excerpt.notes, name)
        sounding = SoundingNotes(notes, framing, framing.n_frames(excerpt.n_samples), offset)
        W = torch.from_numpy(
            key_spectra(
                self.dictionary,
                sounding.pitches,
                framing.axis,
                framing.window_duration,
                tuning=tuning,
            )
        ).to(self.device)
        noise = noise_bands(framing.axis).to(self.device)
        floor = _FLOOR * level
        if self.adapt:
            sounds = np.concatenate(
                [sounding.timbres(sounding.note_of_key(x), x) for x in excerpt.frames], axis=2
            )
            V = torch.cat(excerpt.V, dim=1).to(self.device)
            W = learn_spectra(V, W, torch.from_numpy(sounds).to(self.device), noise, floor)
        done = _half(progress, duration)

        def blocks() -> Iterator[tuple[slice, ScoreActivations]]:
            for frames, spectra in stream_spectra(source, framing, _LONGEST_BLOCK, done):
                sounds = sounding.timbres(sounding.note_of_key(frames), frames)
                V, allowed = magnitudes(spectra), torch.from_numpy(sounds)
                found = estimate_score_activations(
                    V.to(self.device), W, allowed.to(self.device), noise, floor
                )
                yield frames, ScoreActivations(found.H.cpu(), found.G.cpu())

        H, G = join_activations(blocks(), sounding, N_TIMBRES)
        model = SoundModel(W.cpu().numpy(), H, G, sounding, framing)
        return PreparedSeparation(source, notes, model, excerpt.n_samples, excerpt.n_channels)

    def _align(self, audio: Audio, notes: NoteList, name: str) -> tuple[float, float]:
        """Estimate the tuning in semitones, and the delay of the recording after its notes."""
        front_end = self.dictionary.front_end
        played = np.isin(self.dictionary.pitches, notes.pitch)
        tuning = relative_tuning(audio, front_end, self.dictionary.W[:, played])
        samples = audio.resample(front_end.sample_rate).samples
        offset = estimate_offset(samples, front_end.sample_rate, notes)
        spectrogram = transform_in_tune(audio, front_end, tuning)
        if not notes_fit(spectrogram, notes.shift(offset), self.dictionary):
            warnings.warn(
                f"{name}: the notes may be those of another recording, or shifted in time: few "
                "partials rise at their onsets",
                stacklevel=3,
            )
        return tuning, offset


def separate(
    audio: Audio | str | PathLike[str],
    notes: NoteList,
    groups: Groups | None = None,
    *,
    dictionary: TimbreDictionary | str | PathLike[str] = "default",
    adapt: bool = True,
    device: str = "auto",
) -> dict[str, Audio]:
    """Separate a piano recording into groups of its notes.

    Parameters
    ----------
    audio : Audio, str or path-like
        The recording, with any sample rate and channels.
    notes : NoteList
        Its notes, as :class:`harmnmf.Transcriber` finds them, or from a file.
    groups : mapping of str to array_like, optional
        Indices of the notes of each group, or a boolean for each note. Default: ``"left"`` and
        ``"right"``, the hands that :func:`harmnmf.separation.groups.group_by_hand` finds.
    dictionary, adapt, device
        As in :class:`Separator`.

    Returns
    -------
    dict of str to Audio
        The sound of each group and, as ``"residual"``, that of noise and of notes in no group.
        They add up to the recording, and have its sample rate and channels.

    Raises
    ------
    HarmnmfError
        As :class:`Separator` and its methods raise.

    Examples
    --------
    >>> t = np.arange(16000) / 16000
    >>> tones = [np.exp(-3 * t) * np.sin(2 * np.pi * hz * t) for hz in (220, 330)]
    >>> notes = NoteList([0.1, 0.1], [0.9, 0.9], [57, 64], [80, 80])
    >>> audio = Audio(np.pad(0.2 * sum(tones), (1600, 0)), 16000)
    >>> parts = separate(audio, notes, {"low": notes.pitch < 60, "high": notes.pitch >= 60})
    >>> list(parts), parts["low"].duration
    (['low', 'high', 'residual'], 1.1)
    """
    groups = group_by_hand(notes) if groups is None else groups
    separation = Separator(dictionary, adapt=adapt, device=device).prepare(audio, notes)
    blocks = list(separation.parts(groups))
    joined = {name: np.concatenate([block[name] for block in blocks], axis=1) for name in blocks[0]}
    return {
        name: Audio(samples if len(samples) > 1 else samples[0], separation.sample_rate)
        for name, samples in joined.items()
    }


def _half(
    progress: Callable[[float], None] | None, before: float
) -> Callable[[float], None] | None:
    """Report half of the seconds of each of two passes; `before` are those of the first."""
    return progress and (lambda seconds: progress((before + seconds) / 2))
