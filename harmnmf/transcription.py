"""From a piano recording to notes, in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike

import numpy as np
import torch
from numpy.typing import NDArray

from .adaptation import adapt_dictionary
from .audio import Audio, read_audio, stream_audio
from .decoding import PianoActivations, check_thresholds, decode_notes
from .device import resolve_device
from .dictionary import TimbreDictionary
from .notes import NoteList
from .solvers.convolutive import estimate_note_activations, room_bands
from .spectrogram import FrontEnd, Spectrogram
from .tuning import estimate_tuning

__all__ = ["Transcriber"]

# Seconds. A block is long enough to learn the room's response from, and its neighbours lend it
# frames on either side, so that notes across its borders are seen whole.
_BLOCK = 30.0
_CONTEXT = 1.0
# The beginning of a recording, from which its tuning is estimated and its piano's sound learned.
_LEARNED = 180.0


@dataclass(frozen=True)
class Transcriber:
    """Transcribes piano recordings with a timbre dictionary.

    Parameters
    ----------
    dictionary : TimbreDictionary, str or path-like, default="default"
        The dictionary, the name of one that is shipped, or a file.
    onset_threshold, offset_threshold, latency : float
        As in :func:`harmnmf.decoding.decode_notes`.
    tuning : float, optional
        Semitones by which recordings are sharper than the dictionary, negative if flatter.
        Default: estimated from the first three minutes of each.
    adapt : bool, default=True
        Whether to adapt the dictionary to each recording, from its first three minutes, before it
        is transcribed.
    n_iter : int, default=30
        Iterations of the solver.
    device : str, default="auto"
        Where to compute: a PyTorch device, or "auto" for a GPU if there is one.

    Raises
    ------
    FormatError
        If the dictionary is damaged.
    ParameterError
        If there is no such device, or a threshold, the latency or the tuning is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from harmnmf import Audio
    >>> silence = Audio(np.zeros(16000), sample_rate=16000)
    >>> len(Transcriber().transcribe(silence))
    0
    """

    dictionary: TimbreDictionary | str | PathLike[str] = "default"
    onset_threshold: float = -20.0
    offset_threshold: float = -26.0
    latency: float = 0.008
    tuning: float | None = None
    adapt: bool = True
    n_iter: int = 30
    device: str = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.dictionary, TimbreDictionary):
            object.__setattr__(self, "dictionary", TimbreDictionary.load(self.dictionary))
        object.__setattr__(self, "device", str(resolve_device(self.device)))
        # Found here, and not when a long recording has been analysed.
        numbers = (self.onset_threshold, self.offset_threshold, self.latency, self.tuning or 0.0)
        check_thresholds(*numbers)

    def transcribe(
        self,
        source: Audio | str | PathLike[str],
        *,
        progress: Callable[[float], None] | None = None,
    ) -> NoteList:
        """Transcribe a recording.

        Parameters
        ----------
        source : Audio, str or path-like
            The recording, at any sample rate; channels are averaged.
        progress : callable, optional
            Called with the seconds of audio done so far.

        Returns
        -------
        NoteList
            The notes.

        Raises
        ------
        AudioError
            If the file cannot be read.
        """
        return self.decode(self.activations(source, progress=progress))

    def activations(
        self,
        source: Audio | str | PathLike[str],
        *,
        progress: Callable[[float], None] | None = None,
    ) -> PianoActivations:
        """Estimate how strongly each key begins and sounds, from which notes are decoded.

        Parameters
        ----------
        source, progress
            As in :meth:`transcribe`.

        Returns
        -------
        PianoActivations
            Of the whole recording.

        Raises
        ------
        AudioError
            If the file cannot be read.
        """
        if self.adapt:
            return self.adapted(source).activations(source, progress=progress)
        front_end = self.front_end
        rate = self._tuned_rate(self._estimate_tuning(source))
        if isinstance(source, Audio):
            blocks: Iterable[NDArray[np.float32]] = [source.to_mono().resample(rate).samples]
        else:
            blocks = stream_audio(source, sample_rate=rate)
        hop = front_end.hop_length / rate
        attack, sustain = [], []
        n_done = 0
        for V, inner in _overlapping(
            front_end.stream(blocks), round(_BLOCK / hop), round(_CONTEXT / hop)
        ):
            result = estimate_note_activations(
                torch.from_numpy(V).to(self.device),
                self._W,
                self._dictionary.n_attack,
                bands=self._bands,
                n_iter=self.n_iter,
            )
            attack.append(result.A[:, inner].cpu().numpy())
            sustain.append(result.S.sum(dim=1)[:, inner].cpu().numpy())
            n_done += attack[-1].shape[1]
            if progress is not None:
                progress(n_done * hop)
        return PianoActivations(
            np.concatenate(attack, axis=1),
            np.concatenate(sustain, axis=1),
            self._dictionary.pitches,
            hop,
            self._dictionary.n_attack,
            self._dictionary.attack_lead,
        )

    def decode(self, activations: PianoActivations) -> NoteList:
        """Decode notes with this transcriber's thresholds.

        Parameters
        ----------
        activations : PianoActivations
            Of a whole recording.

        Returns
        -------
        NoteList
            The notes.
        """
        return decode_notes(
            activations,
            onset_threshold=self.onset_threshold,
            offset_threshold=self.offset_threshold,
            latency=self.latency,
        )

    def adapted(self, source: Audio | str | PathLike[str]) -> Transcriber:
        """Adapt to the piano, the room and the tuning of a recording.

        Parameters
        ----------
        source : Audio, str or path-like
            The recording, of which the first three minutes are used.

        Returns
        -------
        Transcriber
            With a dictionary and a tuning of its own, which does not adapt any further. Others
            of the same piano's recordings it transcribes as well.

        Raises
        ------
        AudioError
            If the file cannot be read.
        """
        tuning = self._estimate_tuning(source)
        dictionary = adapt_dictionary(
            self._beginning(source, self._tuned_rate(tuning)),
            self._dictionary,
            n_iter=self.n_iter,
            device=self.device,
        )
        return replace(self, dictionary=dictionary, tuning=tuning, adapt=False)

    @property
    def front_end(self) -> FrontEnd:
        """What the dictionary's spectra, and the recording's, are made with."""
        return self._dictionary.front_end

    def _estimate_tuning(self, source: Audio | str | PathLike[str]) -> float:
        if self.tuning is not None:
            return self.tuning
        axis = self.front_end.axis
        values = self._beginning(source, self.front_end.sample_rate).values
        return estimate_tuning(values, axis) - estimate_tuning(
            self._dictionary.W.reshape(axis.n_bins, -1), axis
        )

    def _tuned_rate(self, tuning: float) -> int:
        # Taken at a higher rate, and analysed as if at its own, a sharp recording is in tune.
        return round(self.front_end.sample_rate * 2 ** (tuning / 12))

    def _beginning(self, source: Audio | str | PathLike[str], rate: int) -> Spectrogram:
        if isinstance(source, Audio):
            n_samples = round(_LEARNED * source.sample_rate)
            start = Audio(source.samples[..., :n_samples], source.sample_rate)
            samples = start.to_mono().resample(rate).samples
        else:
            samples = read_audio(source, sample_rate=rate, duration=_LEARNED).samples
        return self.front_end.transform(samples)

    @property
    def _dictionary(self) -> TimbreDictionary:
        assert isinstance(self.dictionary, TimbreDictionary)
        return self.dictionary

    @cached_property
    def _W(self) -> torch.Tensor:
        return torch.tensor(self._dictionary.W, device=self.device)

    @cached_property
    def _bands(self) -> torch.Tensor | None:
        return room_bands(self._dictionary.axis, self.device)


def _overlapping(
    parts: Iterable[Spectrogram], n_frames: int, context: int
) -> Iterator[tuple[NDArray[np.float32], slice]]:
    """Cut a stream of spectrograms into blocks with context on either side.

    Yields each block and the frames in it that are not context. A block holds at least
    `n_frames` of those unless the recording is shorter, so that none is too short to learn from.
    """
    buffer: NDArray[np.float32] | None = None
    start = 0  # where in the buffer the frames begin that have not been yielded as inner ones
    for part in parts:
        buffer = part.values if buffer is None else np.concatenate([buffer, part.values], axis=1)
        while buffer.shape[1] - start >= 2 * n_frames + context:
            end = start + n_frames
            yield buffer[:, : end + context], slice(start, end)
            kept = max(0, end - context)
            buffer, start = buffer[:, kept:], end - kept
    if buffer is not None:
        yield buffer, slice(start, buffer.shape[1])
