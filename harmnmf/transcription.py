"""Transcription of piano recordings: samples to notes, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from harmnmf.decoder.analysis import AnalysedBlock, BlockAnalysis, Recording
from harmnmf.decoder.calibration import calibrate
from harmnmf.decoder.features import typical_room
from harmnmf.decoder.key_ends import release_keys
from harmnmf.decoder.network import NoteNetwork
from harmnmf.decoder.posteriors import NetworkDecoder, NotePosteriors, decode_posteriors
from harmnmf.decoder.rules import N_ITER, PianoActivations, RuleDecoder, decode_notes
from harmnmf.dictionary.adaptation import adapt_dictionary
from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import Audio
from harmnmf.signal.reading import audio_info, audio_name, warn_of_mix
from harmnmf.signal.tuning import relative_tuning, transform_in_tune
from harmnmf.validation import check_choice, check_flag, check_integer, check_number

from .device import resolve_device
from .errors import AudioError, ParameterError
from .progress import seconds_done

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
        Semitones by which recordings are sharper than the dictionary, negative if flatter; from -1
        to 1. Default: estimated for each recording, or 0 if it has too few notes for that.
    adapt : bool, optional
        Adapt the dictionary to each recording. Default: True with "nmf", where the F-measure gains
        a point; a network gains nothing, and takes longer.
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
        of range, `note_ends` is neither "key" nor "sound", or the network was trained with other
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
        for name, value in self.thresholds.items():
            check_number(name, value)
        if tuning is not None:
            check_number("tuning", tuning, -1, 1)
        check_choice("note_ends", note_ends, ("key", "sound"))
        self.note_ends = note_ends
        if adapt is not None:
            check_flag("adapt", adapt)
        if n_iter is not None:
            check_integer("n_iter", n_iter)
        check_number("block_duration", block_duration, above=0)
        check_number("calibration_duration", calibration_duration, above=0)
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
        if n_iter is None:
            n_iter = N_ITER if self.network is None else self.network.settings.n_iter
        self.n_iter = n_iter
        self.block_duration = block_duration
        self.calibration_duration = calibration_duration

    def transcribe(
        self,
        source: Recording | Audio | str | PathLike[str] | ArrayLike,
        *,
        sample_rate: int | None = None,
        progress: bool | Callable[[float], None] | None = None,
    ) -> NoteList:
        """Transcribe a recording.

        Parameters
        ----------
        source : Audio, str, path-like, array_like or Recording
            The recording, at any sample rate. Channels are averaged, unless they cancel or some
            have no notes. Or the result of :meth:`prepare`. An array has shape (n_samples,) or
            (n_channels, n_samples), with full scale at ±1.
        sample_rate : int, optional
            Sample rate of an array in Hz.
        progress : bool or callable, optional
            True for a progress bar, or a function that is called with the seconds of audio done so
            far.

        Returns
        -------
        NoteList
            Notes, and with a network the sustain pedal. Offsets are those of `note_ends`;
            :meth:`NoteList.pedalled` turns releases of keys into ends of sounds.

        Raises
        ------
        AudioError
            If the file cannot be read, or is too short to be resampled.
        ParameterError
            If an array has no sample rate, or a file or `Audio` has a second one.

        Warns
        -----
        UserWarning
            If no notes are found, with the reason; or the channels are not averaged.
        """
        recording = self._prepared(source, sample_rate)
        with self._open(recording, progress) as (decoder, blocks):
            for block in blocks:
                decoder.push(block)
            notes = self._end_notes(decoder.finish())
        recording.check_notes(notes)
        return notes

    def analyse(
        self,
        source: Recording | Audio | str | PathLike[str] | ArrayLike,
        *,
        sample_rate: int | None = None,
        progress: bool | Callable[[float], None] | None = None,
    ) -> PianoActivations | NotePosteriors:
        """Compute the frames that notes are decoded from.

        Parameters
        ----------
        source, sample_rate, progress
            As in :meth:`transcribe`.

        Returns
        -------
        NotePosteriors or PianoActivations
            Probabilities from the network, or activations with "nmf", of the whole recording.
        """
        with self._open(self._prepared(source, sample_rate), progress) as (decoder, blocks):
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

    def prepare(
        self,
        source: Audio | str | PathLike[str] | ArrayLike,
        *,
        sample_rate: int | None = None,
        start: float = 0.0,
        end: float | None = None,
    ) -> Recording:
        """Estimate tuning, level and, if it is adapted, the dictionary of a recording.

        Parameters
        ----------
        source, sample_rate
            As in :meth:`transcribe`; it is read until enough of it holds notes.
        start, end : float, optional
            Part of the recording to transcribe, in seconds; the notes count from `start`. Default:
            the whole recording.

        Returns
        -------
        Recording
            For :meth:`transcribe` and :meth:`analyse`.

        Raises
        ------
        AudioError
            As in :meth:`transcribe`, or if the recording ends before `start`.
        ParameterError
            If `end` is not after `start`.
        """
        audio: Audio | str | PathLike[str] = _as_source(source, sample_rate)
        if end is not None and not end > start:
            raise ParameterError(f"end must be after start ({start} s), not {end} s")
        duration = None if end is None else end - start
        dictionary, tuning = self.dictionary, self.tuning
        name = audio_name(audio)
        found = calibrate(
            audio,
            dictionary.front_end.sample_rate,
            self.calibration_duration,
            offset=start,
            duration=duration,
        )
        try:
            if tuning is None:
                tuning = relative_tuning(found.audio, dictionary.front_end, dictionary.W)
            spectrogram = transform_in_tune(found.audio, dictionary.front_end, tuning)
        except AudioError as error:
            raise AudioError(f"{name}: is too short; choose a longer recording") from error
        if self.adapt:
            room = typical_room if self.network is None else self.network.settings.room
            dictionary = adapt_dictionary(
                spectrogram,
                dictionary,
                n_iter=self.n_iter,
                reverberation=room(spectrogram.hop_length / spectrogram.sample_rate),
                device=self.device,
            )
        mix = found.mix
        if mix is not None:
            warn_of_mix(audio, mix)
        if found.whole is not None:  # it is not read again
            audio, mix, start, duration = found.whole, None, 0.0, None
        return Recording(
            audio,
            dictionary,
            tuning,
            spectrogram,
            found.intervals,
            mix,
            start,
            duration,
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

    def _end_notes(self, notes: NoteList) -> NoteList:
        """End the notes of a decoder, which end with their sound, as `note_ends` says."""
        keys = release_keys(notes)
        if self.note_ends == "key":
            return keys
        held = keys.pedalled()
        return NoteList(held.onset, held.offset, held.pitch, held.velocity, keys.pedal)

    def _prepared(
        self, source: Recording | Audio | str | PathLike[str] | ArrayLike, sample_rate: int | None
    ) -> Recording:
        source = _as_source(source, sample_rate)
        return source if isinstance(source, Recording) else self.prepare(source)

    @contextmanager
    def _open(
        self, recording: Recording, progress: bool | Callable[[float], None] | None
    ) -> Iterator[tuple[RuleDecoder | NetworkDecoder, Iterator[AnalysedBlock]]]:
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
            reverberation=decoder.reverberation,
            block_duration=self.block_duration,
            device=self.device,
        )
        with seconds_done(progress, lambda: _duration(recording)) as report:
            yield decoder, analysis.run(report)


def _as_source(source: Any, sample_rate: int | None) -> Any:
    """Turn an array of samples into `Audio`; other sources have their own sample rate."""
    if isinstance(source, (Recording, Audio, str, PathLike)):
        if sample_rate is not None:
            raise ParameterError("sample_rate is for arrays: other sources have their own")
        return source
    if sample_rate is None:
        raise ParameterError("an array of samples needs its sample rate: give sample_rate=")
    return Audio(np.asarray(source), sample_rate)


def _duration(recording: Recording) -> float:
    """Seconds to transcribe, as far as they are known."""
    end = audio_info(recording.source).duration
    if recording.duration is not None:
        end = min(end, recording.start + recording.duration)
    return max(0.0, end - recording.start)
