"""From a piano recording to notes, in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import tee
from os import PathLike

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf.decoder.features import ONSET_FRONT_END, NoteFeatures, reference_level
from harmnmf.decoder.network import NoteNetwork, NoteProbabilities, join_frames
from harmnmf.decoder.posteriors import NotePosteriors, PosteriorDecoder, decode_posteriors
from harmnmf.decoder.rules import PianoActivations, check_thresholds, decode_notes
from harmnmf.dictionary.adaptation import adapt_dictionary
from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.nmf.solvers.convolutive import NoteActivations, estimate_note_activations, room_bands
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import Audio, read_audio, stream_audio
from harmnmf.signal.spectrogram import FrontEnd, Spectrogram
from harmnmf.signal.tuning import estimate_tuning

from .device import resolve_device
from .errors import ParameterError

__all__ = ["Transcriber"]

# Seconds. A block is long enough to learn the room's response from, and its neighbours lend it
# frames on either side, so that notes across its borders are seen whole.
_BLOCK = 30.0
_CONTEXT = 1.0
# The beginning of a recording, from which its tuning is estimated and its piano's sound learned.
_LEARNED = 180.0
# The decoder without a network.
_RULES = "nmf"


@dataclass(frozen=True)
class Transcriber:
    """Transcribes piano recordings with a timbre dictionary.

    It works in blocks of half a minute, and with a network in memory that hardly grows with the
    recording. Borders between blocks leave no trace in the notes, but each block learns for itself
    what the room does to the sound, so that now and then a note differs from what a longer block
    would have given.

    Parameters
    ----------
    dictionary : TimbreDictionary, str or path-like, default="default"
        The dictionary, the name of one that is shipped, or a file.
    decoder : NoteNetwork, str or path-like, default="learned"
        What finds the notes: a network, the name of one that is shipped or a file of one reads the
        activations of the factorisation together with the spectrum; "nmf" weighs the activations
        alone, by rule.
    onset_threshold, offset_threshold, latency : float, optional
        As in :func:`harmnmf.decoder.rules.decode_notes` with "nmf", or as in
        :func:`harmnmf.decoder.posteriors.decode_posteriors`, with their defaults.
    tuning : float, optional
        Semitones by which recordings are sharper than the dictionary, negative if flatter.
        Default: estimated from the first three minutes of each.
    adapt : bool, optional
        Whether to adapt the dictionary to each recording, from its first three minutes, before it
        is transcribed. Default: with "nmf", which gains two points of the F-measure; a network
        gains half of one, for twice the time.
    n_iter : int, default=30
        Iterations of the solver.
    device : str, default="auto"
        Where to compute: a PyTorch device, or "auto" for a GPU if there is one.

    Raises
    ------
    FormatError
        If the dictionary or the network is damaged.
    ParameterError
        If there is no such device, a threshold, the latency or the tuning is not finite, or the
        network reads other activations than the dictionary gives.

    Examples
    --------
    >>> import numpy as np
    >>> from harmnmf import Audio
    >>> silence = Audio(np.zeros(16000), sample_rate=16000)
    >>> len(Transcriber().transcribe(silence))
    0
    """

    dictionary: TimbreDictionary | str | PathLike[str] = "default"
    decoder: NoteNetwork | str | PathLike[str] = "learned"
    onset_threshold: float | None = None
    offset_threshold: float | None = None
    latency: float | None = None
    tuning: float | None = None
    adapt: bool | None = None
    n_iter: int = 30
    device: str = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.dictionary, TimbreDictionary):
            object.__setattr__(self, "dictionary", TimbreDictionary.load(self.dictionary))
        object.__setattr__(self, "device", str(resolve_device(self.device)))
        # Found here, and not when a long recording has been analysed.
        check_thresholds(self.tuning or 0.0, *self._thresholds.values())
        if self.adapt is None:
            object.__setattr__(self, "adapt", self.decoder == _RULES)
        if self.decoder == _RULES:
            return
        network = self.decoder
        if not isinstance(network, NoteNetwork):
            network = NoteNetwork.load(network)
            object.__setattr__(self, "decoder", network)
        network.check_dictionary(self._dictionary)
        network.to(self.device)

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
        network = self.decoder
        if not isinstance(network, NoteNetwork):
            return self.decode(self.analyse(source, progress=progress))
        if self.adapt:
            return self.adapted(source).transcribe(source, progress=progress)
        rate = self._tuned_rate(self._estimate_tuning(source))
        hop_duration = self.front_end.hop_length / rate
        decoder = PosteriorDecoder(self._dictionary.pitches, hop_duration, **self._thresholds)
        for said in self._probability_blocks(network, source, rate, progress):
            decoder.push(said)
        return decoder.finish()

    def analyse(
        self,
        source: Audio | str | PathLike[str],
        *,
        progress: Callable[[float], None] | None = None,
    ) -> PianoActivations | NotePosteriors:
        """Estimate what this transcriber's decoder decodes notes from.

        Parameters
        ----------
        source, progress
            As in :meth:`transcribe`.

        Returns
        -------
        PianoActivations or NotePosteriors
            Of the whole recording: :meth:`activations`, or what a network makes of them.

        Raises
        ------
        AudioError
            If the file cannot be read.
        """
        if self.decoder == _RULES:
            return self.activations(source, progress=progress)
        return self.posteriors(source, progress=progress)

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
        rate = self._tuned_rate(self._estimate_tuning(source))
        attack, sustain = [], []
        for _, played, inner in self._blocks(source, rate, [self.front_end], progress):
            attack.append(played.A[:, inner].cpu().numpy())
            sustain.append(played.S.sum(dim=1)[:, inner].cpu().numpy())
        return PianoActivations(
            np.concatenate(attack, axis=1),
            np.concatenate(sustain, axis=1),
            self._dictionary.pitches,
            self.front_end.hop_length / rate,
            self._dictionary.n_attack,
            self._dictionary.attack_lead,
        )

    def posteriors(
        self,
        source: Audio | str | PathLike[str],
        *,
        progress: Callable[[float], None] | None = None,
    ) -> NotePosteriors:
        """Estimate how probable it is that each key begins, sounds and ends, by the network.

        Parameters
        ----------
        source, progress
            As in :meth:`transcribe`.

        Returns
        -------
        NotePosteriors
            Of the whole recording.

        Raises
        ------
        AudioError
            If the file cannot be read.
        ParameterError
            If the decoder is "nmf", which has no network.
        """
        network = self.decoder
        if not isinstance(network, NoteNetwork):
            raise ParameterError("posteriors come from a network; choose another decoder")
        if self.adapt:
            return self.adapted(source).posteriors(source, progress=progress)
        rate = self._tuned_rate(self._estimate_tuning(source))
        said = join_frames(list(self._probability_blocks(network, source, rate, progress)))
        hop_duration = self.front_end.hop_length / rate
        return NotePosteriors(*said, self._dictionary.pitches, hop_duration)

    def features(self, source: Audio | str | PathLike[str]) -> tuple[NoteFeatures, float]:
        """Measure the levels that a network reads, to train one or to compare many.

        Parameters
        ----------
        source : Audio, str or path-like
            The recording.

        Returns
        -------
        features : NoteFeatures
            Of the whole recording.
        hop_duration : float
            Seconds from frame to frame.

        Raises
        ------
        AudioError
            If the file cannot be read.
        """
        if self.adapt:
            return self.adapted(source).features(source)
        rate = self._tuned_rate(self._estimate_tuning(source))
        blocks = [
            features[inner].arrays.values()
            for features, inner in self._feature_blocks(source, rate, None)
        ]
        joined = (np.concatenate(same, axis=-1) for same in zip(*blocks, strict=True))
        return NoteFeatures(*joined), self.front_end.hop_length / rate

    def decode(self, analysis: PianoActivations | NotePosteriors) -> NoteList:
        """Decode notes with this transcriber's thresholds.

        Parameters
        ----------
        analysis : PianoActivations or NotePosteriors
            Of a whole recording.

        Returns
        -------
        NoteList
            The notes.
        """
        if isinstance(analysis, NotePosteriors):
            return decode_posteriors(analysis, **self._thresholds)
        return decode_notes(analysis, **self._thresholds)

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

    def _probability_blocks(
        self,
        network: NoteNetwork,
        source: Audio | str | PathLike[str],
        rate: int,
        progress: Callable[[float], None] | None,
    ) -> Iterator[NoteProbabilities]:
        """Let the network read block by block; what it says of the context is left out."""
        for features, inner in self._feature_blocks(source, rate, progress):
            yield NoteProbabilities(*(x[..., inner] for x in network.probabilities(features)))

    def _feature_blocks(
        self,
        source: Audio | str | PathLike[str],
        rate: int,
        progress: Callable[[float], None] | None,
    ) -> Iterator[tuple[NoteFeatures, slice]]:
        """Measure levels block by block, and say which frames are not context."""
        reference = reference_level(self._beginning(source, rate).values)
        front_ends = [self.front_end, ONSET_FRONT_END]
        for (V, onset_V), played, inner in self._blocks(source, rate, front_ends, progress):
            yield NoteFeatures.measure(V, onset_V, played, reference), inner

    def _blocks(
        self,
        source: Audio | str | PathLike[str],
        rate: int,
        front_ends: Sequence[FrontEnd],
        progress: Callable[[float], None] | None,
    ) -> Iterator[tuple[list[NDArray[np.float32]], NoteActivations, slice]]:
        """Analyse a recording block by block.

        Yields each block's spectra, one of each front end, what the solver makes of the first,
        and the frames that are not context.
        """
        if isinstance(source, Audio):
            samples = source.to_mono().resample(rate).samples
            starts = range(0, len(samples), round(_BLOCK * rate))
            signal: Iterable[NDArray[np.float32]] = (
                samples[start : start + starts.step] for start in starts
            )
        else:
            signal = stream_audio(source, sample_rate=rate)
        streams = [
            front_end.stream(copy)
            for front_end, copy in zip(front_ends, tee(signal, len(front_ends)), strict=True)
        ]
        # Of one hop and one length of frames, they give as many frames at a time.
        stacked = (np.concatenate([V.values for V in same]) for same in zip(*streams, strict=True))
        hop = self.front_end.hop_length / rate
        n_done = 0
        for block, inner in _overlapping(stacked, round(_BLOCK / hop), round(_CONTEXT / hop)):
            spectra = np.split(block, len(front_ends))
            played = estimate_note_activations(
                torch.from_numpy(spectra[0]).to(self.device),
                self._W,
                self._dictionary.n_attack,
                bands=self._bands,
                max_iter=self.n_iter,
            )
            yield spectra, played, inner
            n_done += len(range(*inner.indices(block.shape[1])))
            if progress is not None:
                progress(n_done * hop)

    @property
    def _thresholds(self) -> dict[str, float]:
        """Those that were given; a decoder has defaults of its own."""
        names = ("onset_threshold", "offset_threshold", "latency")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

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
    parts: Iterable[NDArray[np.float32]], n_frames: int, context: int
) -> Iterator[tuple[NDArray[np.float32], slice]]:
    """Cut a stream of spectrograms into blocks with context on either side.

    Yields each block and the frames in it that are not context. A block holds at least
    `n_frames` of those unless the recording is shorter, so that none is too short to learn from.
    """
    buffer: NDArray[np.float32] | None = None
    start = 0  # where in the buffer the frames begin that have not been yielded as inner ones
    for part in parts:
        buffer = part if buffer is None else np.concatenate([buffer, part], axis=1)
        while buffer.shape[1] - start >= 2 * n_frames + context:
            end = start + n_frames
            yield buffer[:, : end + context], slice(start, end)
            kept = max(0, end - context)
            buffer, start = buffer[:, kept:], end - kept
    if buffer is not None:
        yield buffer, slice(start, buffer.shape[1])
