"""References of hands and notes, other ways to separate them, and the tables."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import separation_data
from benchmarks.separation import (
    NOTE_SYSTEMS,
    ORACLE,
    OURS,
    SYSTEMS,
    NoteScore,
    Scored,
    hand_rows,
    note_rows,
    write_repeated,
)
from benchmarks.separation_data import choose_excerpts, chosen_notes, examples, nearest_hands
from benchmarks.separation_peers import PEERS, oracle
from harmnmf import Audio, NoteList, audio_info, read_notes, write_audio, write_midi
from harmnmf.enhancement.metrics.scores import si_sdr

RATE = 16000
# Six notes at a time, some with the pedal, of which the right hand plays the upper three.
ONSET = np.repeat(np.arange(0.0, 60.0, 2.0), 6)
PITCH = np.tile([36, 40, 43, 74, 77, 81], 30)
PLAYED = NoteList(ONSET, ONSET + 0.8, PITCH, np.full(180, 70), pedal=[[20.5, 21.5]])


def tone(pitch, seconds=1.5):
    t = np.arange(round(seconds * RATE)) / RATE
    f0 = 440 * 2 ** ((pitch - 69) / 12)
    partials = (np.sin(2 * np.pi * h * f0 * t) / h for h in range(1, 7) if h * f0 < RATE / 2)
    return 0.2 * np.exp(-3 * t) * sum(partials)


def hands_of(data, name, notes):
    hands = np.where(notes.pitch < 60, 2, 1)
    # Of the other work, the hands are told from second 20 on.
    return np.where((notes.onset < 20) & ("unknown" in name), 0, hands)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for piano in ("kw", "ydp"):
        (folder / "piano/notes" / piano).mkdir(parents=True)
        write_audio(folder / f"piano/notes/{piano}/060_L.flac", Audio(tone(60), RATE))
    (folder / "piano/performances").mkdir()
    names = ("Bach__Fugues__1__A", "Bach__Fugues__1_no_repeat__B", "Bach__unknown__C")
    for name in (*names, "Haydn__Sonata__D"):
        write_midi(folder / f"piano/performances/{name}.mid", PLAYED)
    (folder / "piano/real/ENSTDkCl").mkdir(parents=True)
    write_audio(folder / "piano/real/ENSTDkCl/a.flac", Audio(tone(60), RATE))
    table = "onset\tkey_offset\tpedal_offset\tnote\tvelocity\n0.1\t0.6\t0.9\t60\t60\n"
    (folder / "piano/real/ENSTDkCl/a.tsv").write_text(table)
    return folder


@pytest.fixture(autouse=True)
def hands(monkeypatch):
    monkeypatch.setattr(separation_data, "asap_hands", hands_of)


def test_chooses_works_of_all_composers_where_the_hands_are_known(data):
    chosen = choose_excerpts(data, 4)
    assert [(x.name, x.piano) for x in chosen] == [
        ("Bach__Fugues__1__A", "kw"),
        ("Bach__unknown__C", "kw"),
        ("Haydn__Sonata__D", "ydp"),
    ]
    assert [len(x.notes) for x in chosen] == [90, 90, 90]
    np.testing.assert_allclose(chosen[0].notes.onset[:6], 0.5, atol=0.01)
    np.testing.assert_allclose(chosen[0].notes.pedal, [[11.0, 12.0]], atol=0.01)


@pytest.mark.parametrize("room", ["dry", "room, 0.6 s"])
def test_hands_and_mixture_are_sums_of_notes(data, room):
    example = next(examples(data, 1, room))
    assert np.abs(example.mixture).max() == pytest.approx(0.5)
    for name, indices in example.groups.items():
        total = sum(example.note(i) for i in indices)
        np.testing.assert_allclose(example.parts[name], total, atol=1e-6)
    assert not example.parts["left"][: round(0.4 * RATE)].any() or room != "dry"
    total = example.parts["right"] + example.parts["left"]
    np.testing.assert_allclose(example.mixture, total, atol=1e-6)


def test_chooses_notes_of_each_register(data):
    example = next(examples(data, 1))
    chosen = chosen_notes(example)
    assert len(set(chosen)) == len(chosen)
    assert sorted(example.notes.pitch[chosen] < 48) == [False, False, True, True]


def test_other_notes_have_the_hand_of_the_nearest(data):
    example = next(examples(data, 1))
    found = NoteList([0.52, 2.48], [1.0, 3.0], [43, 79], [60, 60])
    assert nearest_hands(example, found).tolist() == [2, 1]


@pytest.mark.parametrize("name", PEERS)
def test_peers_separate_distant_notes(name):
    low, high = tone(45).astype(np.float32), tone(83).astype(np.float32)
    notes = NoteList([0.0, 0.0], [1.2, 1.2], [45, 83], [70, 70])
    groups = {"left": np.array([0]), "right": np.array([1])}
    if name == "NMF, activations from the notes":
        # What is never played alone cannot be told apart by its time: an extra note of the left.
        silence = np.zeros(RATE, np.float32)
        low, high = np.concatenate([low, silence, low]), np.concatenate([high, silence, 0 * high])
        notes = NoteList([0, 0, 2.5], [1.2, 1.2, 3.7], [45, 83, 45], [70, 70, 70])
        groups = {"left": np.array([0, 2]), "right": np.array([1])}
    parts = PEERS[name](low + high, notes, groups)
    best = oracle(low + high, {"left": low, "right": high})
    np.testing.assert_allclose(parts["left"] + parts["right"], low + high, atol=1e-4)
    for part, true in (("left", low), ("right", high)):
        assert 8 < si_sdr(true, parts[part]) <= si_sdr(true, best[part]) + 1


def test_tables():
    def hand_scores(system):
        sdr = {ORACLE: 15.0, OURS: 10.0}.get(system, 5.0)
        return np.broadcast_to([sdr, 20.0, 150.0], (2, 2, 3))

    hands = {("dry", system): hand_scores(system) for system in SYSTEMS}
    scores = tuple(float(i) for i in range(len(NOTE_SYSTEMS)))
    results = [Scored(hands, [NoteScore("dry", 0, 2, scores)]), Scored(hands, [])]
    rows = {row[1]: row for row in hand_rows(results, ["dry"])}
    assert rows[f"**{OURS}**"][2:5] == ["10.00", "20.00", "–"]
    assert [row[-2:] for row in (rows[f"**{OURS}**"], rows["mixture"])] == [
        ["5.00", "50 %"],
        ["0.00", "0 %"],
    ]
    kinds = [row[:4] for row in note_rows(results, ["dry"])]
    assert kinds == [["dry", kind, "1", "0.00"] for kind in ("all", "1 to 2 sounding", "from C5")]


def test_repeats_recordings(data, tmp_path):
    audio, notes = write_repeated(tmp_path, data, 4.0, 22050, 2)
    info = audio_info(audio)
    assert (info.sample_rate, info.n_channels) == (22050, 2)
    assert info.duration == pytest.approx(4.0, abs=1.0)
    np.testing.assert_allclose(read_notes(notes).onset, [0.12, 1.62, 3.12], atol=0.01)
