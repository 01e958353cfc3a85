"""Files in an object store: a real S3 server on this machine, and what is said where the store cannot be read."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any
from wave import open as open_wave

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopwright.core.errors import DeclarationError, SourceError
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.bucket import _explained
from loopwright.data.sources.files import files
from loopwright.data.sources.here import Here
from loopwright.data.sources.listing import state_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopwright.core.storage.stores import Stores

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an empty account, with the environment that points there."""
    values = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=address)
    client.create_bucket(Bucket="data")
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="data"):
        for one in page.get("Contents", ()):
            client.delete_object(Bucket="data", Key=one["Key"])
    client.delete_bucket(Bucket="data")
    client.close()


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def put(s3: Any, key: str, data: bytes | str) -> None:
    s3.put_object(Bucket="data", Key=key, Body=data)


def ids(lake: Lake, name: str) -> list[object]:
    table = lake.read(lake.snapshot(name), columns=["id", "_source"])
    return sorted(table["id"].to_pylist())


def test_globs_folders_and_single_objects(s3: Any, lake: Lake) -> None:
    table = io.BytesIO()
    pq.write_table(pa.table({"id": [3]}), table)
    put(s3, "in/a b.csv", "id\n1\n")
    put(s3, "in/deep/er/b.csv.gz", gzip.compress(b"id\n2\n"))
    put(s3, "in/c.parquet", table.getvalue())
    put(s3, "in/_SUCCESS", "")
    put(s3, "in/_old/d.csv", "id\n9\n")
    put(s3, "in/readme.md", "no table")
    put(s3, "input.csv", "id\n8\n")
    for number, (pattern, found) in enumerate(
        [
            ("in", [1, 2, 3]),
            ("in/", [1, 2, 3]),
            ("in/*.csv", [1]),
            ("in/**/*.csv*", [1, 2, 9]),
            ("in/a b.csv", [1]),
            ("in/c.parquet", [3]),
            ("**/[cb].*", [2, 3]),
        ]
    ):
        dataset = Dataset(f"d{number}", files(f"s3://data/{pattern}"))
        assert lake.has_new(dataset)
        lake.ingest(dataset)
        assert ids(lake, dataset.name) == found, pattern
        assert not lake.has_new(dataset)
        assert lake.ingest(dataset).rows_read == 0
    origin = lake.row("d0", "id", 1)
    assert origin is not None
    assert origin.source == "s3://data/in/a b.csv"


def test_many_objects_come_in_together(s3: Any, lake: Lake) -> None:
    for number in range(40):
        put(s3, f"in/{number:02}.csv", f"id\n{number}\n")
    assert lake.ingest(Dataset("d", files("s3://data/in/*.csv"))).units == 40
    assert ids(lake, "d") == list(range(40))


def test_an_object_written_anew_within_a_second_at_the_same_size_is_seen(s3: Any, lake: Lake, tmp_path: Path) -> None:
    dataset = Dataset("d", files("s3://data/a.csv"), key="id", on_duplicate="upsert")
    put(s3, "a.csv", "id,x\n1,5\n")
    lake.ingest(dataset)
    before = state_digest(dataset.source.describe(), tmp_path)
    put(s3, "a.csv", "id,x\n1,6\n")
    assert state_digest(dataset.source.describe(), tmp_path) != before
    assert lake.has_new(dataset)
    assert lake.ingest(dataset).rows_accepted == 1
    assert lake.read(lake.snapshot("d"), columns=["x"])["x"].to_pylist() == [6]
    put(s3, "a.csv", "id,x\n1,6\n")  # the same content: nothing to read, whatever the time
    assert lake.ingest(dataset).rows_read == 0


def test_sounds_and_their_labels_in_a_bucket(s3: Any, lake: Lake, stores: Stores) -> None:
    sound = io.BytesIO()
    with open_wave(sound, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(1_600))
    put(s3, "calls/one/a.wav", sound.getvalue())
    put(s3, "calls/b.wav", b"no sound")
    put(s3, "calls/labels.csv", "file,topic\none/a.wav,bill\nb.wav,other\n")
    source = files("s3://data/calls/**/*.wav", labels="s3://data/calls/labels.csv", measures=["duration_s"])
    report = lake.ingest(Dataset("calls", source, contract=[column("topic", "category")]))
    assert (report.rows_accepted, report.reasons) == (1, {"audio(audio)": 1})
    row = lake.read(lake.snapshot("calls")).to_pylist()[0]
    assert (row["file"], row["topic"], row["duration_s"]) == ("one/a.wav", "bill", 0.1)
    assert stores.payloads.get(row["audio"]) == sound.getvalue()
    assert lake.quarantine("calls").entries()[0].source == "s3://data/calls/b.wav"


def test_what_goes_wrong_is_one_clear_error(s3: Any, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    put(s3, "a.csv", "id\n1\n")
    dataset = Dataset("d", files("s3://data/a.csv"))
    with pytest.raises(SourceError, match=r"No file matches s3://data/x/\*\.csv\. Correct the path"):
        lake.ingest(Dataset("e", files("s3://data/x/*.csv")))
    for pattern in ("s3://nowhere/x/*.csv", "s3://nowhere/a.csv"):
        with pytest.raises(SourceError, match=r"There is no bucket s3://nowhere\. Correct the URL, or the region"):
            lake.ingest(Dataset("e", files(pattern)))
    with monkeypatch.context() as other:
        other.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(SourceError, match=r"s3://data cannot be read: .*Check the network and the endpoint"):
            lake.ingest(dataset)
    with monkeypatch.context() as other:
        other.delenv("AWS_ALLOW_HTTP")
        with pytest.raises(SourceError, match="AWS_ALLOW_HTTP=true"):
            lake.ingest(dataset)
    with monkeypatch.context() as other:
        other.delenv("AWS_ACCESS_KEY_ID")
        other.delenv("AWS_SECRET_ACCESS_KEY")
        other.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(SourceError, match=r"There are no credentials for s3://data: .*Set AWS_ACCESS_KEY_ID"):
            lake.ingest(dataset)
    assert lake.ingest(dataset).rows_accepted == 1


def test_an_object_that_vanishes_between_listing_and_reading(
    s3: Any, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, "in/a.csv", "id\n1\n")
    put(s3, "in/b.csv", "id\n2\n")
    bring = Here.bring

    def late(self: Here, listed: Any) -> None:
        s3.delete_object(Bucket="data", Key="in/b.csv")
        bring(self, listed)

    dataset = Dataset("d", files("s3://data/in/*.csv"))
    with monkeypatch.context() as other:
        other.setattr(Here, "bring", late)
        with pytest.raises(SourceError, match=r"s3://data/in/b\.csv was listed and is gone\. Run again"):
            lake.ingest(dataset)
    assert lake.ingest(dataset).rows_accepted == 1


def test_one_file_of_a_web_server(s3: Any, address: str, lake: Lake) -> None:
    s3.put_object(Bucket="data", Key="a.csv", Body="id\n1\n", ACL="public-read")
    dataset = Dataset("d", files(f"{address}/data/a.csv"))
    assert lake.ingest(dataset).rows_accepted == 1
    assert not lake.has_new(dataset)
    with pytest.raises(SourceError, match=r"There is nothing at http|refuses these credentials"):
        lake.ingest(Dataset("e", files(f"{address}/data/b.csv")))


def test_other_clouds_say_what_they_need(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SourceError, match=r"does not say which Azure account.*AZURE_STORAGE_ACCOUNT_NAME"):
        lake.ingest(Dataset("d", files("az://container/a.csv")))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(SourceError, match=r"no credentials for gs://bucket: .*GOOGLE_APPLICATION_CREDENTIALS"):
        lake.ingest(Dataset("d", files("gs://bucket/in/*.csv")))


def test_numbers_of_times_and_ports_are_no_status() -> None:
    text = "Generic S3 error: Error performing list request: Error performing GET http://h:40403/d in 259.401404ms, "
    explained = _explained("s3://data", "s3://data", text + "after 2 retries - HTTP error: error sending request")
    assert "s3://data cannot be read" in explained.message


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("gcs://bucket/a.csv", "no kind of URL 'gcs://'. Did you mean 'gs://'"),
        ("s4://bucket/a.csv", "no kind of URL 's4://'. Did you mean"),
        ("s3:///a.csv", "names no bucket"),
        ("https://example.org/*.csv", "a web server cannot be listed"),
    ],
)
def test_urls_are_checked_when_declared(pattern: str, said: str) -> None:
    with pytest.raises(DeclarationError) as raised:
        files(pattern)
    assert said in str(raised.value)
