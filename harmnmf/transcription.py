"""Transcription of piano recordings: samples to notes, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from os import PathLike

from harmnmf.decoder.analysis import AnalysedBlock, BlockAnalysis, Recording
from harmnmf.decoder.features import FeatureSettings
from harmnmf.decoder.key_ends import release_keys
from harmnmf.decoder.network import NoteNetwork
from harmnmf.decoder.posteriors import NetworkDecoder, NotePosteriors, decode_posteriors
from harmnmf.decoder.rules import PianoActivations, RuleDecoder, check_thresholds, decode_notes
from harmnmf.dictionary.adaptation import adapt_dictionary
from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import Audio, read_audio
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
    note_ends : {"key", "sound"}, default="key"
        Where notes end: at the release of the key, which is estimated while the sustain pedal is
        down (:func:`harmnmf.decoder.key_ends.release_keys`), or with the sound. Without a network
        the pedal is not known, and notes end with the sound.
    tuning : float, optional
        Semitones by which recordings are sharper than the dictionary, negative if flatter.
        Default: estimated from the beginning of each recording.
    adapt : bool, optional
        Adapt the dictionary to the beginning of each recording. Default: True with "nmf", where
        the F-measure gains two points; a network gains half a point and takes twice the time.
    n_iter : int, optional
        Iterations of the solver. Default: as many as the network was trained with, or 30.
    block_duration : float, default=30.0
        Length of a block in seconds.
    calibration_duration : float, default=180.0
        Length of the beginning in seconds from which the tuning, the level and the adapted
        dictionary are estimated.
    device : str, default="auto"
        PyTorch device, or "auto" for a GPU if there is one.

    Raises
    ------
    HarmnmfError
        If there is no such dictionary or network, or (FormatError) its file is damaged.
    ParameterError
        If the device is not available, a threshold, the latency or the tuning is not finite,
        `note_ends` is neither "key" nor "sound", or the network was trained with other
        dictionaries.

    Examples
    --------
    >>> import numpy as np
    >>> from harmnmf import Audio
    >>> silence = Audio(np.zeros(16000), sample_rate=16000)
    >>> len(Transcriber().transcribe(silence))
    0
    """

    def __init__(
        self,
        dictionary: TimbreDictionary | str | PathLike[str] = "default",
        decoder: NoteNetwork | str | PathLike[str] = "learned",
        *,
        onset_threshold: float | None = None,
        offset_threshold: float | None = None,
        latency: float | None = None,
        note_ends: str = "key",
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
        check_thresholds(tuning or 0.0, *self.thresholds.values())
        if note_ends not in ("key", "sound"):
            raise ParameterError(f"note_ends must be 'key' or 'sound', not {note_ends!r}")
        self.note_ends = note_ends
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
            The recording, at any sample rate; channels are averaged. Or the result of
            :meth:`prepare`.
        progress : callable, optional
            Called with the seconds of audio done so far.

        Returns
        -------
        NoteList
            Notes, and with a network the sustain pedal. Offsets are those of `note_ends`;
            :meth:`NoteList.pedalled` turns releases of keys into ends of sounds.

        Raises
        ------
        AudioError
            If the file cannot be read, or is too short to be resampled.
        """
        decoder, blocks = self._open(source, progress)
        for block in blocks:
            decoder.push(block)
        return self._end_notes(decoder.finish())

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
        decoder, blocks = self._open(source, progress)
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
            Notes, with the thresholds and the `note_ends` of this transcriber.
        """
        if isinstance(analysis, NotePosteriors):
            return self._end_notes(decode_posteriors(analysis, **self.thresholds))
        return self._end_notes(decode_notes(analysis, **self.thresholds))

    def prepare(self, source: Audio | str | PathLike[str]) -> Recording:
        """Estimate tuning, level and, if it is adapted, the dictionary of a recording.

        Parameters
        ----------
        source : Audio, str or path-like
            The recording; only its beginning is read.

        Returns
        -------
        Recording
            For :meth:`transcribe` and :meth:`analyse`, with the spectrogram of the beginning.

        Raises
        ------
        AudioError
            As in :meth:`transcribe`.
        """
        beginning = read_audio(source, duration=self.calibration_duration)
        dictionary, tuning = self.dictionary, self.tuning
        try:
            if tuning is None:
                tuning = relative_tuning(beginning, dictionary.front_end, dictionary.W)
            spectrogram = transform_in_tune(beginning, dictionary.front_end, tuning)
        except AudioError as error:
            name = "the audio" if isinstance(source, Audio) else source
            raise AudioError(f"{name}: is too short; choose a longer recording") from error
        if beginning.duration < self.calibration_duration:
            source = beginning  # the whole recording, which is not read again
        if self.adapt:
            dictionary = adapt_dictionary(
                spectrogram, dictionary, n_iter=self.n_iter, device=self.device
            )
        return Recording(source, dictionary, tuning, spectrogram)

    def adapted(self, source: Audio | str | PathLike[str]) -> Transcriber:
        """Adapt to the piano, the room and the tuning of a recording.

        Parameters
        ----------
        source : Audio, str or path-like
            Recording; only its beginning is read.

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

    def _end_notes(self, notes: NoteList) -> NoteList:
        """End the notes of a decoder, which end with their sound, as `note_ends` says."""
        keys = release_keys(notes)
        if self.note_ends == "key":
            return keys
        held = keys.pedalled()
        return NoteList(held.onset, held.offset, held.pitch, held.velocity, keys.pedal)

    def _open(
        self,
        source: Recording | Audio | str | PathLike[str],
        progress: Callable[[float], None] | None,
    ) -> tuple[RuleDecoder | NetworkDecoder, Iterator[AnalysedBlock]]:
        """Make the decoder of a recording, and the blocks to push to it."""
        recording = source if isinstance(source, Recording) else self.prepare(source)
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
