from __future__ import annotations

import zipfile

import numpy as np
import pytest

from harmnmf import NoteList, write_midi
from harmnmf.errors import FormatError
from harmnmf.score.reading.musicxml import read_musicxml, read_pop909

CONTAINER = '<container><rootfiles><rootfile full-path="{}"/></rootfiles></container>'


def note(name, duration, *, voice=1, staff=1, alter=0, extra="", attributes=""):
    """Write a note, or a rest without a name; in ``C4`` the 4 is the octave."""
    pitch = "<rest/>"
    if name:
        pitch = (
            f"<pitch><step>{name[0]}</step><alter>{alter}</alter><octave>{name[1]}</octave></pitch>"
        )
    before = "".join(f"<{tag}/>" for tag in ("chord", "grace") if tag in extra)
    after = extra.replace("chord", "").replace("grace", "")
    length = "" if "grace" in extra else f"<duration>{duration}</duration>"
    return (
        f"<note {attributes}>{before}{pitch}{length}{after}"
        f"<voice>{voice}</voice><staff>{staff}</staff></note>"
    )


def attributes(divisions=1, time="4/4", key=0, mode="", staves=2):
    beats, unit = time.split("/")
    return (
        f"<attributes><divisions>{divisions}</divisions>"
        f"<key><fifths>{key}</fifths>{f'<mode>{mode}</mode>' if mode else ''}</key>"
        f"<time><beats>{beats}</beats><beat-type>{unit}</beat-type></time>"
        f"<staves>{staves}</staves></attributes>"
    )


def part(*measures, name="P1"):
    numbered = "".join(
        f'<measure number="{index}">{measure}</measure>'
        if not measure.startswith("<measure")
        else measure
        for index, measure in enumerate(measures, start=1)
    )
    return f'<part id="{name}">{numbered}</part>'


def document(*parts, names=("Piano",), title="<movement-title>Song</movement-title>"):
    listed = "".join(
        f'<score-part id="P{index}"><part-name>{name}</part-name></score-part>'
        for index, name in enumerate(names, start=1)
    )
    return (
        f"<score-partwise>{title}<part-list>{listed}</part-list>{''.join(parts)}</score-partwise>"
    )


@pytest.fixture
def read(tmp_path):
    """Read measures of one part, or a whole document."""

    def read(*measures, **options):
        path = tmp_path / "song.musicxml"
        text = measures[0] if measures[0].startswith("<score") else document(part(*measures))
        path.write_text(text, encoding="utf-8")
        return read_musicxml(path, **options)

    return read


def back(duration):
    return f"<backup><duration>{duration}</duration></backup>"


def test_two_staves_chords_and_voices(read):
    score = read(
        attributes(2, key=-3, mode="minor")
        + note("E4", 4, alter=-1)
        + note("G4", 4, extra="chord")
        + note("F4", 4)
        + back(8)
        + note("", 2, voice=2)
        + note("C4", 6, voice=2)
        + back(8)
        + note("C3", 8, voice=5, staff=2)
    )
    notes = score.notes
    assert score.title == "Song"
    assert (score.keys[0].fifths, score.keys[0].mode) == (-3, "minor")
    rows = zip(notes.onset, notes.staff, notes.voice, notes.pitch, notes.duration, strict=True)
    assert list(rows) == [
        (0, 1, 1, 63, 960), (0, 1, 1, 67, 960), (0, 2, 1, 48, 1920),
        (480, 1, 2, 60, 1440), (960, 1, 1, 65, 960),
    ]  # fmt: skip
    assert notes.fifths.tolist() == [-3, 1, 0, 0, -1]
    assert score.bars.starts.tolist() == [0, 1920]


def test_voices_beyond_two_join_the_nearer(read):
    voices = [("C6", 1), ("C4", 2), ("D4", 3)]
    content = back(4).join(note(name, 4, voice=voice) for name, voice in voices)
    score = read(attributes() + content + back(4) + note("A5", 2, voice=4))
    assert dict(zip(score.notes.pitch.tolist(), score.notes.voice.tolist(), strict=True)) == {
        84: 1, 81: 1, 60: 2, 62: 2,
    }  # fmt: skip


def test_tuplets_do_not_drift(read):
    """Seven notes to a quarter have no whole ticks, and the next beat begins on time."""
    score = read(attributes(7) + "".join(note("C4", 1) for _ in range(7)) + note("D4", 21))
    assert score.notes.onset.tolist() == [0, 69, 137, 206, 274, 343, 411, 480]
    assert (np.diff(score.notes.onset) == score.notes.duration[:-1]).all()


def test_divisions_change_within_a_measure(read):
    score = read(
        attributes(1, "2/4") + note("C4", 1) + "<attributes><divisions>4</divisions></attributes>"
        + note("D4", 2) + note("E4", 2)
    )  # fmt: skip
    assert score.notes.onset.tolist() == [0, 480, 720]


TIE, TIED = '<tie type="start"/>', '<tie type="stop"/>'


def test_ties(read):
    score = read(
        attributes() + note("C4", 2) + note("C4", 2, extra=TIE),
        note("C4", 4, extra=TIED + TIE),
        note("C4", 1, extra=TIED) + note("C4", 3),
    )
    assert score.notes.onset.tolist() == [0, 960, 4320]
    assert score.notes.duration.tolist() == [960, 960 + 1920 + 480, 1440]


def test_ties_of_a_written_out_arpeggio(read):
    score = read(
        attributes() + note("C4", 1, extra=TIE) + note("E4", 1, extra=TIE)
        + note("C4", 2, extra=TIED) + note("E4", 2, extra="chord" + TIED)
    )  # fmt: skip
    assert score.notes.onset.tolist() == [0, 480]
    assert score.notes.duration.tolist() == [1920, 1440]


def test_tie_without_a_beginning(read):
    score = read(attributes() + note("C4", 2) + note("D4", 2, extra=TIED))
    assert score.notes.pitch.tolist() == [60, 62]


def test_grace_notes_and_ornaments(read):
    trill = "<notations><ornaments><trill-mark/></ornaments></notations>"
    rolled = "<notations><arpeggiate/></notations>"
    score = read(
        attributes() + note("D4", 0, extra="grace") + note("C4", 2, extra=trill)
        + note("E4", 2, extra=rolled)
    )  # fmt: skip
    assert score.notes.ornament.tolist() == ["trill", "grace", "arpeggio"]
    assert score.notes.duration.tolist() == [960, 0, 960]


def test_hidden_notes_are_left_out(read):
    """They play an ornament, and can be too many for their measure; cue notes are small print."""
    hidden = "".join(note("C5", 1, voice=2, attributes='print-object="no"') for _ in range(9))
    score = read(attributes(2) + note("C4", 8, extra="<cue/>") + back(8) + hidden, note("D4", 8))
    assert score.notes.pitch.tolist() == [60, 62]
    assert score.bars.time_signatures.tolist() == [[4, 4], [4, 4]]


def test_pickup_and_divided_bar(read):
    implicit = '<measure number="X1" implicit="yes">{}</measure>'
    score = read(
        '<measure number="0">' + attributes(1, "3/4") + note("C4", 1) + "</measure>",
        note("D4", 3),
        note("E4", 2),
        implicit.format(note("F4", 1)),
        note("G4", 2),
    )
    assert score.bars.pickup == 480
    assert score.notes.onset.tolist() == [0, 480, 1920, 2880, 3360]
    assert score.bars.starts.tolist() == [0, 480, 1920, 3360, 4800]
    assert (score.bars.time_signatures == [3, 4]).all()


def test_irregular_bars(read):
    """A longer or a shorter bar has a time signature of its own."""
    score = read(attributes(4) + note("C4", 16), note("D4", 19), note("E4", 8), note("F4", 16))
    assert score.bars.time_signatures.tolist() == [[4, 4], [19, 16], [2, 4], [4, 4]]
    assert score.notes.onset.tolist() == [0, 1920, 4200, 5160]


@pytest.mark.parametrize(
    ("time", "signature"),
    [
        ("<beats>3+2</beats><beat-type>8</beat-type>", [5, 8]),
        (
            "<beats>2</beats><beat-type>4</beat-type><beats>3</beats><beat-type>8</beat-type>",
            [7, 8],
        ),
        ("<beats>8</beats><beat-type>64</beat-type>", [4, 32]),
    ],
)
def test_unusual_time_signatures(read, time, signature):
    score = read(
        f"<attributes><divisions>1</divisions><time>{time}</time></attributes>", note("C4", 0)
    )
    assert score.bars.time_signatures.tolist() == [signature] * 2


def test_keys_and_metres_change(read):
    change = "<attributes><key><fifths>{}</fifths></key></attributes>"
    score = read(
        attributes(1, "2/4", key=1) + note("C4", 2),
        attributes(1, "3/4", key=1) + note("C4", 3),
        note("C4", 1) + change.format(-2) + note("C4", 2),
        note("C4", 3),
    )
    assert [(key.bar, key.fifths) for key in score.keys] == [(0, 1), (3, -2)]
    assert score.bars.time_signatures.tolist() == [[2, 4], [3, 4], [3, 4], [3, 4]]


def test_transposing_part(read):
    transpose = "<transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose>"
    score = read(
        attributes(1, key=2).replace("</attributes>", transpose + "</attributes>") + note("D4", 4)
    )
    assert (score.notes.pitch.tolist(), score.notes.fifths.tolist()) == ([60], [0])
    assert score.keys[0].fifths == 0


def test_empty_part(read):
    assert len(read(attributes(), "").notes) == 0


FORWARD = '<barline location="left"><repeat direction="forward"/></barline>'
BACK = '<barline location="right"><repeat direction="backward"/></barline>'


def ending(number, kind, inner=""):
    return f'<barline><ending number="{number}" type="{kind}"/>{inner}</barline>'


@pytest.mark.parametrize(
    ("signs", "order"),
    [
        (("", BACK, "", ""), "ABABCD"),
        (("", FORWARD, BACK, ""), "ABCBCD"),
        ((BACK, FORWARD, BACK, BACK), "AABCBCDD"),
        ((BACK.replace("/></b", ' times="3"/></b'), "", "", ""), "AAABCD"),
        (
            (
                FORWARD,
                ending(1, "start") + BACK.replace("<rep", '<ending number="1" type="stop"/><rep'),
                ending(2, "start") + ending(2, "discontinue"),
                "",
            ),
            "ABACD",
        ),
        (
            (
                "",
                ending("1, 2", "start"),
                BACK.replace("<rep", '<ending number="1, 2" type="stop"/><rep'),
                ending(3, "start") + ending(3, "stop"),
            ),
            "ABCABCAD",
        ),
    ],
)
def test_repeats(read, signs, order):
    notes = [note(f"{name}4", 4) for name in "ABCD"]
    measures = [sign + content for sign, content in zip(signs, notes, strict=True)]
    measures[0] = attributes() + measures[0]
    pitches = {name: 60 + step for name, step in zip("ABCD", (9, 11, 0, 2), strict=True)}
    assert len(read(*measures).notes) == 4
    score = read(*measures, unfold_repeats=True)
    assert score.notes.pitch.tolist() == [pitches[name] for name in order]
    assert (score.notes.onset == 1920 * np.arange(len(order))).all()


def test_repeat_with_a_pickup(read):
    """The last bar and the pickup are a bar together."""
    score = read(
        '<measure number="0">' + attributes(1, "3/4") + note("C4", 1) + "</measure>",
        note("D4", 3),
        note("E4", 2) + BACK,
        unfold_repeats=True,
    )
    assert score.bars.starts.tolist() == [0, 480, 1920, 3360, 4800, 6240]
    assert score.notes.onset.tolist() == [0, 480, 1920, 2880, 3360, 4800]


SONG = attributes(staves=1) + note("A4", 4)
PIANO = attributes() + note("C4", 4)


def test_piano_of_a_song(read, recwarn):
    song = document(part(SONG), part(PIANO, name="P2"), names=("Voice", "Piano"))
    assert read(song).notes.pitch.tolist() == [60]
    assert read(song, part="voice").notes.pitch.tolist() == [69]
    assert read(song, part="P1").notes.pitch.tolist() == [69]
    assert len(recwarn) == 0
    with pytest.raises(FormatError, match="no part 'Flute'; its parts are Voice, Piano"):
        read(song, part="Flute")


def test_of_two_pianos_one_is_read(read):
    duet = document(part(PIANO), part(PIANO, name="P2"), names=("Piano 1", "Piano 2"))
    with pytest.warns(UserWarning, match="part Piano 1 is read, and left out: Piano 2"):
        assert len(read(duet).notes) == 1


def test_hands_in_two_parts(read, recwarn):
    parts = part(SONG), part(attributes(staves=1) + note("C3", 4), name="P2")
    score = read(document(*parts, names=("Piano right", "Piano left")))
    assert (score.notes.pitch.tolist(), score.notes.staff.tolist()) == ([69, 48], [1, 2])
    assert len(recwarn) == 0
    with pytest.warns(UserWarning, match="Flute, Cello are read as the two hands"):
        read(document(*parts, names=("Flute", "Cello")))


def test_no_piano(read):
    names = ("Soprano", "Alto", "Tenor")
    choir = document(*(part(SONG, name=f"P{index}") for index in (1, 2, 3)), names=names)
    with pytest.raises(FormatError, match="none of its parts Soprano, Alto, Tenor has two staves"):
        read(choir)


def test_compressed(tmp_path):
    path = tmp_path / "song.mxl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/container.xml", CONTAINER.format("deep/a.xml"))
        archive.writestr("picture.xml", "<svg/>")
        archive.writestr("deep/a.xml", document(part(PIANO)))
    assert read_musicxml(path).notes.pitch.tolist() == [60]


def test_utf_16(tmp_path):
    path = tmp_path / "song.xml"
    title = "<movement-title>Träumerei</movement-title>"
    text = '<?xml version="1.0" encoding="UTF-16"?>' + document(part(PIANO), title=title)
    path.write_bytes(text.encode("utf-16"))
    assert read_musicxml(path).title == "Träumerei"


BOMB = '<!DOCTYPE a [<!ENTITY a "aaa"><!ENTITY b "&a;&a;&a;">]><score-partwise>&b;</score-partwise>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as MusicXML"),
        ("<score-partwise>", "cannot be read as MusicXML"),
        ("<score-partwise/>", "it has no parts"),
        ("<svg/>", "not a score in partwise MusicXML, but <svg>"),
        ("PK\x03\x04 and no archive", "cannot be read as MusicXML"),
        (BOMB, "declares XML entities"),
        (document(part()), "no measures"),
        (document(part(attributes().replace(">1<", ">0<") + note("C4", 4))), "divisions"),
        (document(part(attributes(time="0/4"))), "time signature"),
        (document(part(attributes(time="4/3"))), "time signature"),
        (document(part(attributes() + note("H4", 4))), "'H' is not the name of a note"),
        (document(part(attributes() + note("C4", 4, alter=900))), "no MIDI note"),
        (document(part(attributes() + note("C4", "long"))), "cannot be read"),
        (document(part(attributes() + note("C4", "1e99"))), "measure 1 is too long"),
        (document(part(attributes(time="99999999/4"))), "measure 1 is too long"),
    ],
)
def test_damaged_files(tmp_path, text, message):
    path = tmp_path / "damaged.musicxml"
    path.write_text(text)
    with pytest.raises(FormatError, match=message) as error:
        read_musicxml(path)
    assert str(path) in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(FormatError, match=r"missing.mxl: cannot be read"):
        read_musicxml(tmp_path / "missing.mxl")


def write_song(folder, downbeats, *, strong=None, key="0 9 Gb:maj"):
    write_midi(folder / "007.mid", NoteList([0.5], [1], [60], [70]))
    strong = downbeats if strong is None else strong
    table = zip(np.arange(1, len(strong) + 1) / 2, strong, downbeats, strict=True)
    lines = [" ".join(map(str, row)) for row in table]
    (folder / "007.beat_midi.txt").write_text("\n".join(lines))
    (folder / "007.key_audio.txt").write_text(key)
    return read_pop909(folder, 7)


def test_pop909(tmp_path):
    notes, grid, keys = write_song(tmp_path, [0, 1, 0, 0, 0, 1, 0, 1, 0, 0])
    assert len(notes) == 1
    assert grid.bars.pickup == 480
    assert grid.bars.time_signatures.tolist() == [[4, 4], [4, 4], [2, 4], [3, 4]]
    assert grid.downbeats.tolist() == [1, 3, 4]
    assert [(key.bar, key.fifths, key.mode) for key in keys] == [(0, -6, "major")]


def test_pop909_completes_the_last_bar(tmp_path):
    _, grid, keys = write_song(tmp_path, [1, 0, 0, 1, 0], key="0 2 C:maj\n2 3 Ab:min")
    assert grid.time.tolist() == [0.5, 1, 1.5, 2, 2.5, 3]
    assert [(key.bar, key.fifths) for key in keys] == [(0, 0), (1, 5)]


def test_pop909_in_three(tmp_path):
    downbeats = [1, 0, 0, 0, 0, 0]
    _, grid, _ = write_song(tmp_path, downbeats, strong=[1, 0, 0, 1, 0, 0])
    assert grid.bars.time_signatures.tolist() == [[3, 4], [3, 4]]
    _, grid, _ = write_song(tmp_path, downbeats, strong=[1, 0, 1, 0, 1, 0])
    assert grid.bars.time_signatures.tolist() == [[6, 4]]


def test_pop909_damaged(tmp_path):
    with pytest.raises(FormatError, match=r"007.beat_midi.txt: not beats and keys"):
        write_song(tmp_path, [0, 0])
    with pytest.raises(FormatError, match=r"008.mid: cannot be read"):
        read_pop909(tmp_path, 8)
