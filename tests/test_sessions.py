"""Public objects in Python sessions: pickled, copied, sent to processes, and given arrays."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from harmnmf import (
    Audio,
    HarmonicNMF,
    LogFrequency,
    NoteList,
    ParameterError,
    TimbreDictionary,
    Transcriber,
    read_audio,
)
from harmnmf.enhancement import Enhancer

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "example.flac"
COPIES = [lambda x: pickle.loads(pickle.dumps(x)), copy.copy, copy.deepcopy]


@pytest.fixture(scope="module")
def audio():
    return read_audio(EXAMPLE, duration=1.0)


@pytest.fixture(scope="module")
def transcriber(audio):
    transcriber = Transcriber()
    transcriber.transcribe(audio)  # has started the threads of PyTorch
    return transcriber


@pytest.mark.parametrize("duplicate", COPIES, ids=["pickle", "copy", "deepcopy"])
def test_copies_compute_the_same(transcriber, audio, duplicate):
    assert duplicate(transcriber).transcribe(audio) == transcriber.transcribe(audio)
    recording = transcriber.prepare(audio)
    assert transcriber.transcribe(duplicate(recording)) == transcriber.transcribe(recording)
    enhancer = Enhancer.load("harmonic-light")
    enhanced = enhancer(audio).samples
    np.testing.assert_array_equal(duplicate(enhancer)(audio).samples, enhanced)
    model = HarmonicNMF(np.ones((4, 1, 1)), max_iter=3, tol=None).fit(np.ones((5, 4)))
    np.testing.assert_array_equal(
        duplicate(model).transform(np.ones((5, 4))), model.transform(np.ones((5, 4)))
    )


@pytest.mark.parametrize("duplicate", COPIES, ids=["pickle", "copy", "deepcopy"])
def test_copies_are_as_read_only_as_their_originals(duplicate):
    dictionary = duplicate(TimbreDictionary.load("default"))
    notes = duplicate(NoteList([0.0], [1.0], [60], [64], [[0.0, 1.0]]))
    assert notes == NoteList([0.0], [1.0], [60], [64], [[0.0, 1.0]])
    assert dictionary.metadata == TimbreDictionary.load("default").metadata
    assert duplicate(LogFrequency()) == LogFrequency()
    assert duplicate(Audio(np.ones(5), 8000)).duration == Audio(np.ones(5), 8000).duration
    for array in (dictionary.W, dictionary.pitches, notes.onset, notes.pedal):
        assert not array.flags.writeable
    with pytest.raises(TypeError):
        dictionary.metadata["name"] = "other"


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_transcribe_with_the_object_of_their_parent(transcriber, audio, method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        notes = pool.apply_async(transcriber.transcribe, [audio]).get(timeout=100)
    expected = transcriber.transcribe(audio)
    np.testing.assert_array_equal(notes.pitch, expected.pitch)
    # Sums depend on the number of threads.
    np.testing.assert_allclose(notes.intervals, expected.intervals, atol=1e-4)


def test_arrays_need_their_sample_rate(transcriber, audio):
    expected = transcriber.transcribe(audio)
    assert transcriber.transcribe(audio.samples, sample_rate=16000) == expected
    assert transcriber.transcribe(audio.samples.tolist(), sample_rate=16000) == expected
    with pytest.raises(ParameterError, match="an array of samples needs its sample rate"):
        transcriber.transcribe(audio.samples)
    for source in (audio, str(EXAMPLE), EXAMPLE, transcriber.prepare(audio)):
        with pytest.raises(ParameterError, match="sample_rate is for arrays"):
            transcriber.transcribe(source, sample_rate=16000)


def test_progress_is_a_bar_or_a_function(transcriber, audio, capsys):
    notes = transcriber.transcribe(audio, progress=True)
    assert "1.0/1.0" in capsys.readouterr().err
    done = []
    assert transcriber.transcribe(audio, progress=done.append) == notes
    assert done[-1] == pytest.approx(1.0, abs=0.05)
    part = transcriber.prepare(EXAMPLE, start=3.0, end=4.0)
    transcriber.transcribe(part, progress=True)
    assert "1.0/1.0" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_the_parent_of_a_fork_keeps_its_threads(transcriber):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        process = multiprocessing.get_context("fork").Process(target=print)
        process.start()
        process.join()
        assert process.exitcode == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
