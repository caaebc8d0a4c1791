"""Transcription of piano recordings: samples to notes, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from os import PathLike

from harmnmf.decoder.analysis import AnalysedBlock, BlockAnalysis, Recording
from harmnmf.decoder.calibration import calibrate
from harmnmf.decoder.features import FeatureSettings
from harmnmf.decoder.network import NoteNetwork
from harmnmf.decoder.posteriors import NetworkDecoder, NotePosteriors, decode_posteriors
from harmnmf.decoder.rules import PianoActivations, RuleDecoder, check_thresholds, decode_notes
from harmnmf.dictionary.adaptation import adapt_dictionary
from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import Audio, warn_of_mix
from harmnmf.signal.tuning import relative_tuning, transform_in_tune

from .device import resolve_device
from .errors import AudioError, ParameterError

__all__ = ["Transcriber"]


class Transcriber:
    """Transcribe piano recordings with a timbre dictionary.

    A recording is analysed in blocks; with a network, memory hardly grows with the duration. Notes
    across the borders of blocks are transcribed whole. Each block estimates the response of
    the room for itself, so that a few notes depend on the length of the blocks.

    Parameters
    ----------
    dictionary : TimbreDictionary, str or path-like, default="default"
        A dictionary, the name of a shipped one, or a file.
    decoder : NoteNetwork, str or path-like, default="learned"
        A network that decodes notes from activations and spectra, the name of a shipped one, or a
        file; or "nmf" to decode them from the activations by rules.
    onset_threshold, offset_threshold, latency : float, optional
        As in :class:`harmnmf.decoder.posteriors.PosteriorDecoder` with a network, or as in
        :func:`harmnmf.decoder.rules.decode_notes` with "nmf"; the defaults are theirs.
    tuning : float, optional
        Semitones by which recordings are sharper than the dictionary, negative if flatter; from -1
        to 1. Default: estimated for each recording, or 0 if it has too few notes for that.
    adapt : bool, optional
        Adapt the dictionary to each recording. Default: True with "nmf", where
        the F-measure gains two points; a network gains half a point and takes twice the time.
    n_iter : int, optional
        Iterations of the solver. Default: as many as the network was trained with, or 30.
    block_duration : float, default=30.0
        Length of a block in seconds.
    calibration_duration : float, default=180.0
        Seconds from which the tuning, the level and the adapted dictionary are estimated: the
        first that hold notes. Silence, noise and speech are passed over.
    device : str, default="auto"
        PyTorch device, or "auto" for a GPU if there is one.

    Raises
    ------
    HarmnmfError
        If there is no such dictionary or network, or (FormatError) its file is damaged.
    ParameterError
        If the device is not available, a threshold or the latency is not finite, the tuning is out
        of range, or the network was trained with other dictionaries.

    Examples
    --------
    >>> import numpy as np
    >>> from harmnmf import Audio
    >>> t = np.arange(32000) / 16000
    >>> partials = [np.sin(2 * np.pi * 440 * h * t) / h**2 for h in range(1, 6)]
    >>> note = Audio(0.1 * np.exp(-2 * t) * sum(partials), sample_rate=16000)
    >>> Transcriber().transcribe(note).pitch
    array([69])
    """

    def __init__(
        self,
        dictionary: TimbreDictionary | str | PathLike[str] = "default",
        decoder: NoteNetwork | str | PathLike[str] = "learned",
        *,
        onset_threshold: float | None = None,
        offset_threshold: float | None = None,
        latency: float | None = None,
        tuning: float | None = None,
        adapt: bool | None = None,
        n_iter: int | None = None,
        block_duration: float = 30.0,
        calibration_duration: float = 180.0,
        device: str = "auto",
    ) -> None:
        thresholds = {
            "onset_threshold": onset_threshold,
            "offset_threshold": offset_threshold,
            "latency": latency,
        }
        self.thresholds = {name: x for name, x in thresholds.items() if x is not None}
        check_thresholds(*self.thresholds.values())
        if tuning is not None and not -1 <= tuning <= 1:
            raise ParameterError(f"tuning must be from -1 to 1 semitones, not {tuning}")
        self.device = str(resolve_device(device))
        if not isinstance(dictionary, TimbreDictionary):
            dictionary = TimbreDictionary.load(dictionary)
        self.dictionary = dictionary
        self.network: NoteNetwork | None = None
        if decoder != "nmf":
            network = decoder if isinstance(decoder, NoteNetwork) else NoteNetwork.load(decoder)
            network.check_dictionary(dictionary)
            self.network = network.to(self.device)
        self.tuning = tuning
        self.adapt = self.network is None if adapt is None else adapt
        settings = FeatureSettings() if self.network is None else self.network.settings
        self.n_iter = settings.n_iter if n_iter is None else n_iter
        self.block_duration = block_duration
        self.calibration_duration = calibration_duration

    def transcribe(
        self,
        source: Recording | Audio | str | PathLike[str],
        *,
        progress: Callable[[float], None] | None = None,
    ) -> NoteList:
        """Transcribe a recording.

        Parameters
        ----------
        source : Audio, str, path-like or Recording
            The recording, at any sample rate. Channels are averaged, unless they cancel or some
            have no notes. Or the result of :meth:`prepare`.
        progress : callable, optional
            Called with the seconds of audio done so far.

        Returns
        -------
        NoteList
            Notes, with offsets where their sound ends, and with a network the sustain pedal.

        Raises
        ------
        AudioError
            If the file cannot be read, or is too short to be resampled.

        Warns
        -----
        UserWarning
            If no notes are found, with the reason; or the channels are not averaged.
        """
        recording = source if isinstance(source, Recording) else self.prepare(source)
        decoder, blocks = self._open(recording, progress)
        for block in blocks:
            decoder.push(block)
        notes = decoder.finish()
        recording.check_notes(notes)
        return notes

    def analyse(
        self,
        source: Recording | Audio | str | PathLike[str],
        *,
        progress: Callable[[float], None] | None = None,
    ) -> PianoActivations | NotePosteriors:
        """Compute the frames that notes are decoded from.

        Parameters
        ----------
        source, progress
            As in :meth:`transcribe`.

        Returns
        -------
        NotePosteriors or PianoActivations
            Probabilities from the network, or activations with "nmf", of the whole recording.
        """
        recording = source if isinstance(source, Recording) else self.prepare(source)
        decoder, blocks = self._open(recording, progress)
        return decoder.analyse(blocks)

    def decode(self, analysis: PianoActivations | NotePosteriors) -> NoteList:
        """Decode the notes that :meth:`transcribe` returns from the result of :meth:`analyse`.

        Parameters
        ----------
        analysis : PianoActivations or NotePosteriors
            Frames of a whole recording.

        Returns
        -------
        NoteList
            Notes, with the thresholds of this transcriber.
        """
        if isinstance(analysis, NotePosteriors):
            return decode_posteriors(analysis, **self.thresholds)
        return decode_notes(analysis, **self.thresholds)

    def prepare(self, source: Audio | str | PathLike[str]) -> Recording:
        """Estimate tuning, level and, if it is adapted, the dictionary of a recording.

        Parameters
        ----------
        source : Audio, str or path-like
            The recording; it is read until enough of it holds notes.

        Returns
        -------
        Recording
            For :meth:`transcribe` and :meth:`analyse`.

        Raises
        ------
        AudioError
            As in :meth:`transcribe`.
        """
        dictionary, tuning = self.dictionary, self.tuning
        name = "the audio" if isinstance(source, Audio) else source
        found = calibrate(source, dictionary.front_end.sample_rate, self.calibration_duration)
        try:
            if tuning is None:
                tuning = relative_tuning(found.audio, dictionary.front_end, dictionary.W)
            spectrogram = transform_in_tune(found.audio, dictionary.front_end, tuning)
        except AudioError as error:
            raise AudioError(f"{name}: is too short; choose a longer recording") from error
        if self.adapt:
            dictionary = adapt_dictionary(
                spectrogram, dictionary, n_iter=self.n_iter, device=self.device
            )
        if found.mix is not None:
            warn_of_mix(source, found.mix)
        return Recording(
            found.whole or source,  # what was read whole is not read again
            dictionary,
            tuning,
            spectrogram,
            found.intervals,
            None if found.whole else found.mix,
            if_empty=f"{name}: no notes were found: {found.reason_for_no_notes()}",
        )

    def adapted(self, source: Audio | str | PathLike[str]) -> Transcriber:
        """Adapt to the piano, the room and the tuning of a recording.

        Parameters
        ----------
        source : Audio, str or path-like
            Recording; it is read until enough of it holds notes.

        Returns
        -------
        Transcriber
            Transcriber with the adapted dictionary and the tuning, which does not adapt further:
            for other recordings of the same piano.
        """
        adapting, adapted = copy(self), copy(self)
        adapting.adapt, adapted.adapt = True, False
        recording = adapting.prepare(source)
        adapted.dictionary, adapted.tuning = recording.dictionary, recording.tuning
        return adapted

    def _open(
        self,
        recording: Recording,
        progress: Callable[[float], None] | None,
    ) -> tuple[RuleDecoder | NetworkDecoder, Iterator[AnalysedBlock]]:
        """Make the decoder of a recording, and the blocks to push to it."""
        decoder = (
            RuleDecoder(recording, **self.thresholds)
            if self.network is None
            else NetworkDecoder(self.network, recording, **self.thresholds)
        )
        analysis = BlockAnalysis(
            recording,
            decoder.front_ends,
            n_iter=self.n_iter,
            block_duration=self.block_duration,
            device=self.device,
        )
        return decoder, analysis.run(progress)
