from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from loopwright.core.errors import SourceError
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.files import files
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def png(shade: int, size: tuple[int, int] = (8, 8), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("L", size, shade).save(file, kind)
    return file.getvalue()


def put(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def digits(**options: object) -> Dataset:
    source = files("images/**/*.png", **options)  # type: ignore[arg-type]
    return Dataset("digits", source, contract=[column("label", "int", between=(0, 9), required=False)])


def state(lake: Lake) -> dict[str, int | None]:
    table = lake.read(lake.snapshot("digits"), columns=["file", "label"])
    return dict(zip(table["file"].to_pylist(), table["label"].to_pylist(), strict=True))


def test_images_are_stored_once_and_rows_refer_to_them(lake: Lake, stores: Stores, tmp_path: Path) -> None:
    put(tmp_path / "images/a/1.png", png(1, (4, 6)))
    put(tmp_path / "images/2.png", png(2))
    put(tmp_path / "images/same.png", png(2))
    report = lake.ingest(Dataset("digits", files("images/**/*.png", measures=("width", "height", "format"))))
    assert report.rows_accepted == 3
    rows = lake.read(lake.snapshot("digits")).to_pylist()
    assert [row["file"] for row in rows] == ["2.png", "a/1.png", "same.png"]
    assert [(row["width"], row["height"], row["format"]) for row in rows] == [
        (8, 8, "PNG"),
        (4, 6, "PNG"),
        (8, 8, "PNG"),
    ]
    assert rows[0]["image"] == rows[2]["image"]
    assert stores.payloads.get(rows[1]["image"]) == png(1, (4, 6))
    origin = lake.row("digits", "file", "a/1.png")
    assert origin is not None
    assert (origin.source, origin.source_row) == ("images/a/1.png", 0)


def test_broken_images_and_impossible_labels_are_kept_out(lake: Lake, stores: Stores, tmp_path: Path) -> None:
    broken = {"cut.png": png(3, (64, 64))[:-30], "text.png": b"no image", "empty.png": b""}
    for name, data in broken.items():
        put(tmp_path / "images" / name, data)
    put(tmp_path / "images/ok.png", png(4))
    put(tmp_path / "images/ten.png", png(5))
    put(tmp_path / "labels.csv", "file,label\nok.png,4\nten.png,10\ncut.png,1\ntext.png,1\nempty.png,1\ngone.png,3\n")
    report = lake.ingest(digits(labels="labels.csv"))
    assert (report.rows_read, report.rows_accepted, report.rows_quarantined) == (6, 1, 5)
    assert report.reasons == {"between(label)": 1, "image(image)": 3, "row()": 1}
    kept_out = {row.source: row for row in lake.quarantine("digits").entries()}
    assert "damaged image" in str(kept_out["images/cut.png"].reasons[0].value)
    assert kept_out["images/text.png"].reasons[0].value == "8 bytes that are no image"
    assert stores.payloads.get(kept_out["images/cut.png"].raw["image"]) == broken["cut.png"]  # type: ignore[index]
    assert kept_out["labels.csv"].source_row == 5
    assert kept_out["labels.csv"].reasons[0].value == "label: 0 images are named 'gone.png'"
    assert not lake.has_new(digits(labels="labels.csv"))
    assert lake.ingest(digits(labels="labels.csv")).rows_read == 0


def test_an_image_waits_for_its_label(lake: Lake, tmp_path: Path) -> None:
    dataset = digits(labels="labels*.csv")
    for number in range(3):
        put(tmp_path / f"images/{number}.png", png(number))
    report = lake.ingest(dataset)
    assert (report.rows_read, report.waiting, report.snapshot) == (0, 3, None)
    assert not lake.has_new(dataset)
    put(tmp_path / "labels-1.csv", "file,label\n0.png,0\n2,2\n")
    assert lake.has_new(dataset)
    report = lake.ingest(dataset)
    assert (report.rows_accepted, report.waiting) == (2, 1)
    put(tmp_path / "labels-2.csv", "file,label\n1.png,1\n9.png,9\n")
    report = lake.ingest(dataset)
    assert (report.rows_read, report.rows_accepted, report.rows_quarantined, report.waiting) == (2, 1, 1, 0)
    put(tmp_path / "images/9.png", png(9))
    assert lake.ingest(dataset).rows_accepted == 1
    assert state(lake) == {"0.png": 0, "1.png": 1, "2.png": 2, "9.png": 9}
    assert lake.quarantine("digits").rows == 1
    put(tmp_path / "labels-3.csv", "file,label\n1.png,7\n")  # revised: the newer row counts, the older stays in history
    assert lake.ingest(dataset).rows_accepted == 1
    assert state(lake) == {"0.png": 0, "1.png": 7, "2.png": 2, "9.png": 9}
    assert lake.snapshot("digits").rows == 4
    assert lake.ingest(dataset).rows_read == 0


def test_an_image_may_come_in_before_its_label(lake: Lake, clock: object, tmp_path: Path) -> None:
    dataset = digits(labels="labels.csv", unlabelled="ingest")
    put(tmp_path / "images/1.png", png(1))
    put(tmp_path / "images/2.png", png(2))
    first = lake.ingest(dataset)
    assert (first.rows_accepted, first.warnings[0]) == (2, "No label table matches labels.csv yet.")
    assert state(lake) == {"1.png": None, "2.png": None}
    clock.advance(3600)  # type: ignore[attr-defined]
    put(tmp_path / "labels.csv", "file,label\n1.png,1\n")
    report = lake.ingest(dataset)
    assert (report.rows_read, report.rows_accepted) == (1, 1)
    assert state(lake) == {"1.png": 1, "2.png": None}
    rows = lake.read(lake.snapshot("digits")).to_pylist()
    assert sorted(row["_arrived_at"].hour for row in rows) == [0, 1]
    put(tmp_path / "labels.csv", "file,label\n1.png,1\n2.png,2\n")
    assert lake.ingest(dataset).rows_read == 1
    assert state(lake) == {"1.png": 1, "2.png": 2}


def test_label_tables_that_cannot_be_used(lake: Lake, tmp_path: Path) -> None:
    put(tmp_path / "images/1.png", png(1))
    put(tmp_path / "labels.csv", "name,label\n1.png,1\n")
    with pytest.raises(SourceError, match=r"has no column 'path'.*name, label"):
        lake.ingest(digits(labels="labels.csv", labels_on="path"))
    report = lake.ingest(digits(labels="labels.csv"))
    assert report.rows_accepted == 1
    assert lake.read(lake.snapshot("digits"), columns=["name"]).to_pylist() == [{"name": "1.png"}]


def test_images_in_a_table(lake: Lake, stores: Stores) -> None:
    dataset = Dataset(
        "shots", push(), key="id", contract=[column("photo", "image"), column("sound", "audio", required=False)]
    )
    sound = b"fLaC" + bytes(14) + (44_100 << 44).to_bytes(8, "big") + bytes(16)
    report = lake.push(
        dataset,
        [
            {"id": 1, "photo": png(1, kind="JPEG"), "sound": sound},
            {"id": 2, "photo": b"junk", "sound": None},
            {"id": 3, "photo": None, "sound": b""},
            {"id": 4, "photo": png(4), "sound": None},
        ],
    )
    assert report.reasons == {"audio(sound)": 1, "image(photo)": 1, "required(photo)": 1}
    rows = lake.read(lake.snapshot("shots")).to_pylist()
    assert stores.payloads.get_many([rows[0]["photo"], rows[0]["sound"]]) == [png(1, kind="JPEG"), sound]
    again = lake.push(dataset, [{"id": 5, "photo": rows[0]["photo"]}, {"id": 6, "photo": "sha256:" + "0" * 64}])
    assert (again.rows_accepted, again.reasons) == (1, {"image(photo)": 1})
