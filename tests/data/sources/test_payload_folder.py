"""Folders of audio and of texts: each file is a row, and what cannot be read says why."""

from __future__ import annotations

import gzip
import io
import struct
import wave
from typing import TYPE_CHECKING

import pytest

from loopwright.core.errors import DeclarationError, SourceError
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.files import files

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def put(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def wav(frames: int = 800, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((channels, 2, 8_000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * channels * frames))
    return file.getvalue()


def flac(samples: int = 88_200) -> bytes:
    packed = 44_100 << 44 | 1 << 41 | 15 << 36 | samples
    return b"fLaC\x80\x00\x00\x22" + bytes(10) + packed.to_bytes(8, "big") + bytes(16) + b"frames"


def test_sounds_come_in_with_what_their_headers_say(lake: Lake, stores: Stores, tmp_path: Path) -> None:
    put(tmp_path / "calls/a/1.wav", wav())
    put(tmp_path / "calls/a/2.flac", flac())
    put(tmp_path / "calls/3.mp3", b"\xff\xfb\x90\x00" + bytes(400))
    put(tmp_path / "calls/4.ogg", b"OggS" + bytes(40))
    put(tmp_path / "calls/5.wav", wav(channels=2)[:24] + b"" + wav(channels=2)[24:])
    source = files("calls/**/*.*", format="audio", measures=["duration_s", "sample_rate_hz", "channels", "format"])
    dataset = Dataset("calls", source)
    report = lake.ingest(dataset)
    assert (report.rows_accepted, report.rows_quarantined, report.warnings) == (5, 0, ())
    rows = {row["file"]: row for row in lake.read(lake.snapshot("calls")).to_pylist()}
    facts = {name: [row[one] for one in source.measures] for name, row in rows.items()}
    assert facts == {
        "a/1.wav": [0.1, 8_000, 1, "WAV"],
        "a/2.flac": [2.0, 44_100, 2, "FLAC"],
        "3.mp3": [None, None, None, "MP3"],
        "4.ogg": [None, None, None, "OGG"],
        "5.wav": [0.1, 8_000, 2, "WAV"],
    }
    assert stores.payloads.get(rows["a/1.wav"]["audio"]) == wav()
    assert dataset.contract.column("audio") == column("audio", "audio")
    put(tmp_path / "calls/6.wav", wav(400))
    report = lake.ingest(dataset)
    assert (report.rows_accepted, report.warnings) == (1, ())
    assert not lake.has_new(dataset)


def test_sounds_that_are_none_are_kept_out(lake: Lake, stores: Stores, tmp_path: Path) -> None:
    broken = {
        "cut.wav": wav()[:-100],
        "empty.wav": b"",
        "no-data.wav": wav()[:36],
        "no-format.wav": wav()[:12] + b"data" + struct.pack("<I", 4) + bytes(4),
        "short.wav": b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00",
        "text.mp3": b"this is a text",
        "cut.flac": flac()[:20],
    }
    for name, data in broken.items():
        put(tmp_path / "calls" / name, data)
    put(tmp_path / "calls/good.wav", wav())
    report = lake.ingest(Dataset("calls", files("calls", format="audio")))
    assert (report.rows_accepted, report.reasons) == (1, {"audio(audio)": len(broken)})
    said = {row.source.removeprefix("calls/"): str(row.reasons[0].value) for row in lake.quarantine("calls").entries()}
    assert said == {
        "cut.wav": "1544 bytes, damaged audio: WAV with 1500 of the 1600 bytes of sound that its header says",
        "empty.wav": "0 bytes that are no audio (known: WAV, FLAC, MP3, Ogg, M4A, AIFF)",
        "no-data.wav": "36 bytes, damaged audio: WAV without data",
        "no-format.wav": "24 bytes, damaged audio: WAV without a format before its data",
        "short.wav": "22 bytes, damaged audio: the header is cut off",
        "text.mp3": "14 bytes that are no audio (known: WAV, FLAC, MP3, Ogg, M4A, AIFF)",
        "cut.flac": "20 bytes, damaged audio: FLAC without its STREAMINFO block",
    }
    kept = lake.quarantine("calls").entries()[0]
    assert stores.payloads.get(kept.raw["audio"]) in broken.values()  # type: ignore[index]


def test_texts_come_in_and_their_encoding_is_checked(lake: Lake, stores: Stores, tmp_path: Path) -> None:
    put(tmp_path / "mails/a.txt", "Grüße aus Köln")
    put(tmp_path / "mails/b.txt", b"\xef\xbb\xbfwith a mark")
    put(tmp_path / "mails/deep/c.txt", "utf-16".encode("utf-16"))
    put(tmp_path / "mails/d.txt.gz", gzip.compress(b"packed"))
    put(tmp_path / "mails/e.md", "")
    put(tmp_path / "mails/table.csv", "no,text\n")
    put(tmp_path / "mails/bad.txt", "Grüße".encode("latin-1"))
    put(tmp_path / "mails/cut.txt.gz", gzip.compress(b"packed" * 100)[:-4])
    put(tmp_path / "topics.csv", "file,topic\na.txt,travel\nb,other\nc,other\nd.txt.gz,x\ne,x\nbad,x\ncut.txt,x\n")
    source = files("mails", format="text", labels="topics.csv")
    report = lake.ingest(Dataset("mails", source, contract=[column("topic", "category")]))
    rows = {row["file"]: row for row in lake.read(lake.snapshot("mails")).to_pylist()}
    texts = {name: stores.payloads.get(row["text"]).decode() for name, row in rows.items()}
    assert texts == {
        "mails/a.txt": "Grüße aus Köln",
        "mails/b.txt": "with a mark",
        "mails/deep/c.txt": "utf-16",
        "mails/d.txt.gz": "packed",
        "mails/e.md": "",
    }
    assert rows["mails/a.txt"]["topic"] == "travel"
    assert report.reasons == {"row()": 2}
    said = {row.source: (row.source_row, row.reasons[0].value, row.raw) for row in lake.quarantine("mails").entries()}
    assert said["mails/bad.txt"] == (0, "text: not valid UTF-8 at byte 2 (0xfc)", "Gr��e")
    assert "text: the compressed file (.gz) is damaged" in str(said["mails/cut.txt.gz"][1])
    origin = lake.row("mails", "file", "mails/a.txt")
    assert origin is not None
    assert origin.row["text"] == "Grüße aus Köln"


def test_texts_in_another_encoding_with_checks_on_the_text(lake: Lake, tmp_path: Path) -> None:
    put(tmp_path / "mails/a.txt", "Grüße".encode("latin-1"))
    put(tmp_path / "mails/b.txt", "")
    source = files("mails/*.txt", format="text", encoding="latin-1", column="body")
    report = lake.ingest(Dataset("mails", source, contract=[column("body", "text", matches=".+")]))
    assert (report.rows_accepted, report.reasons) == (1, {"matches(body)": 1})
    origin = lake.row("mails", "body", "Grüße")
    assert origin is not None
    assert origin.source == "mails/a.txt"


def test_a_changed_text_replaces_the_older_row(lake: Lake, tmp_path: Path) -> None:
    dataset = Dataset("mails", files("mails/*.md"))
    put(tmp_path / "mails/a.md", "first")
    put(tmp_path / "mails/b.md", "other")
    assert lake.ingest(dataset).rows_accepted == 2
    put(tmp_path / "mails/a.md", "second")
    assert lake.ingest(dataset).rows_accepted == 1
    origin = lake.row("mails", "file", "a.md")
    assert origin is not None
    assert origin.row["text"] == "second"
    assert lake.snapshot("mails").rows == 2


def test_a_folder_without_what_is_sought_says_so(lake: Lake, tmp_path: Path) -> None:
    put(tmp_path / "in/a.png", b"")
    with pytest.raises(SourceError, match=r"The folder in holds no file of the format that is sought.*format='images'"):
        lake.ingest(Dataset("d", files("in")))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"pattern": "a/*.wav", "measures": ["width"]}, "of audio knows duration_s, sample_rate_hz, channels, format"),
        ({"pattern": "a/*.md", "measures": ["width"]}, "of text knows none"),
        ({"pattern": "a/*.csv", "measures": ["width"], "column": "x"}, "has column=, measures=, which is for images"),
        ({"pattern": "a/*.csv", "delimiter": ";;"}, "give one sign"),
        ({"pattern": "a/*.csv", "encoding": "latin-99"}, "no encoding that Python knows"),
    ],
)
def test_what_contradicts_itself_is_said_at_once(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(DeclarationError) as raised:
        files(**arguments)  # type: ignore[arg-type]
    assert said in str(raised.value)
