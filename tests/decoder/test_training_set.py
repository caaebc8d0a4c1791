"""Rendering of training excerpts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from pianos import write_piano

from harmnmf import (
    Audio,
    AudioError,
    FormatError,
    NoteList,
    ParameterError,
    TimbreDictionary,
    write_audio,
)
from harmnmf.decoder.excerpts import NoteExcerpt
from harmnmf.decoder.training_set import ExcerptSource, learn_leave_one_out, write_excerpts
from harmnmf.notes.files import write_midi
from harmnmf.signal.spectrogram import LowLatency
from harmnmf.synthesis.microphone import RecordingConditions

DRY = RecordingConditions(**{field.name: 0.0 for field in fields(RecordingConditions)})


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> ExcerptSource:
    folder = tmp_path_factory.mktemp("material")
    pianos = {name: write_piano(folder / "pianos" / name, b) for name, b in (("a", 1), ("b", 2))}
    dictionaries = learn_leave_one_out(pianos, folder / "dictionaries")
    onsets = np.arange(0.5, 8.0, 0.25)
    notes = NoteList(
        onsets, onsets + 0.2, 50 + np.arange(30) % 20, [80] * 30, pedal=[[1.0, 2.0], [4.0, 7.0]]
    )
    write_midi(folder / "song.mid", notes)
    return ExcerptSource(pianos, dictionaries, [folder / "song.mid"], conditions=DRY, duration=3.0)


@pytest.fixture(scope="module")
def short(material: ExcerptSource, tmp_path_factory: pytest.TempPathFactory) -> ExcerptSource:
    """Excerpts of a second of a performance that repeats one key, and a background of noise."""
    folder = tmp_path_factory.mktemp("short")
    onsets = np.arange(0.5, 8.0, 0.25)
    write_midi(folder / "song.mid", NoteList(onsets, onsets + 0.2, [60] * 30, [80] * 30))
    # Shorter than an excerpt, so that several are joined.
    noise = 0.1 * np.random.default_rng(0).standard_normal(11025)
    write_audio(folder / "street.wav", Audio(noise, 22050))
    return replace(
        material,
        performances=[folder / "song.mid"],
        backgrounds=[folder / "street.wav"],
        duration=1.0,
    )


def first(source: ExcerptSource, is_wanted: Callable[[NoteExcerpt], bool]) -> NoteExcerpt:
    """Render excerpts until one is of the wanted kind."""
    return next(one for one in map(source.render, range(150)) if is_wanted(one))


@pytest.fixture(scope="module")
def excerpt(material: ExcerptSource) -> NoteExcerpt:
    return material.render(0)


def test_dictionaries_are_learned_once_from_the_other_pianos(material: ExcerptSource) -> None:
    for name, path in material.dictionaries.items():
        sources = TimbreDictionary.load(path).metadata["instruments"]
        assert set(sources) == set(material.pianos) - {name}
    before = path.stat().st_mtime_ns
    assert learn_leave_one_out(material.pianos, path.parent) == material.dictionaries
    assert path.stat().st_mtime_ns == before


def test_dictionaries_for_streams(material: ExcerptSource, tmp_path: Path) -> None:
    [name, *_] = material.pianos
    paths = learn_leave_one_out(
        {name: material.pianos[name]}, tmp_path / "dictionaries", front_end=LowLatency()
    )
    assert TimbreDictionary.load(paths[name]).front_end == LowLatency()


def test_excerpt_sounds_where_its_notes_are(excerpt: NoteExcerpt) -> None:
    assert excerpt.features.n_frames == 151
    assert 4 < len(excerpt.notes) < 20
    assert len(excerpt.notes.pedal)
    # Attack activations are stronger where notes begin than elsewhere in the rows of their keys.
    attack = excerpt.features.activations[:, 0].astype(float)
    at_onsets = []
    for pitch, onset in zip(excerpt.notes.pitch, excerpt.notes.onset, strict=True):
        frame = round(onset / excerpt.hop_duration)
        at_onsets.append(attack[pitch - 21, max(0, frame - 2) : frame + 2].max())
    played = np.unique(excerpt.notes.pitch) - 21
    assert np.mean(at_onsets) > np.mean(attack[played]) + 40


def test_background_is_heard(short: ExcerptSource) -> None:
    source = replace(short, conditions=replace(DRY, background=1.0), seed=1)
    changes = []
    for index in range(4):
        alone, accompanied = replace(source, backgrounds=()).render(index), source.render(index)
        assert accompanied.notes == alone.notes
        changes.append(accompanied.features.spectrum.astype(int) - alone.features.spectrum)
    assert np.mean(changes) > 3
    again = source.render(3).features
    np.testing.assert_array_equal(again.spectrum, accompanied.features.spectrum)


def test_excerpts_without_a_piano_have_no_notes(short: ExcerptSource) -> None:
    source = replace(short, seed=0)
    one = first(source, lambda each: not len(each.notes))
    assert one.features.spectrum.mean() > 30
    assert not len(one.notes.pedal)
    assert not any(target.any() for target in one.targets())


def test_dense_excerpts_are_two_performances_at_once(short: ExcerptSource) -> None:
    def is_dense(one: NoteExcerpt) -> bool:
        # Octaves and trills of one key are fewer intervals than two keys.
        keys = np.unique(one.notes.pitch % 12)
        return bool(np.isin((keys[:, None] - keys) % 12, range(3, 10)).any())

    notes = first(replace(short, backgrounds=(), seed=53), is_dense).notes
    assert len(notes) > 5
    assert notes == notes.without_overlaps()
    assert notes.offset.max() <= 1.0


def test_damaged_backgrounds_are_named(short: ExcerptSource, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    with pytest.raises(AudioError, match=r"broken\.wav"):
        write_excerpts(replace(short, backgrounds=[broken]), tmp_path / "set", range(1))
    assert not list((tmp_path / "set").iterdir())


def test_excerpts_are_written_once(
    material: ExcerptSource, excerpt: NoteExcerpt, tmp_path: Path
) -> None:
    kept = tmp_path / "000001.safetensors"
    kept.write_text("kept")
    done: list[Path] = []
    paths = write_excerpts(material, tmp_path, range(2), progress=done.append)
    assert done == paths
    assert paths[1] == kept
    assert kept.read_text() == "kept"
    # An excerpt depends on its index and the seed only.
    written = NoteExcerpt.load(paths[0])
    assert written.notes == excerpt.notes
    np.testing.assert_array_equal(written.features.spectrum, excerpt.features.spectrum)
    assert material.render(1).notes != excerpt.notes


def test_source_needs_pianos_performances_and_dictionaries(material: ExcerptSource) -> None:
    for pianos, dictionaries, performances in (
        ({}, {}, material.performances),
        (material.pianos, material.dictionaries, []),
        (material.pianos, {}, material.performances),
    ):
        with pytest.raises(ParameterError):
            ExcerptSource(pianos, dictionaries, performances)


def test_damaged_performances_are_named(material: ExcerptSource, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mid"
    broken.write_bytes(b"no MIDI")
    source = ExcerptSource(material.pianos, material.dictionaries, [broken])
    with pytest.raises(FormatError, match=r"broken\.mid"):
        write_excerpts(source, tmp_path / "set", range(1))
    assert not list((tmp_path / "set").iterdir())
