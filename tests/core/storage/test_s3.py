"""Blobs, tables and payloads on S3: moto's server on the loopback address, spoken to as any other endpoint."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from typing import TYPE_CHECKING

import httpx
import pyarrow as pa
import pytest

from loopwright.core.storage.blobs import BlobStore
from loopwright.core.storage.conformance.blob_store import BlobStoreConformance
from loopwright.core.storage.conformance.table_store import TableStoreConformance
from loopwright.core.storage.payloads import PayloadStore
from loopwright.core.storage.tables import TableStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BUCKET = "loopwright-test"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    # A process of its own: delta-rs holds the interpreter's lock over some requests, and would wait for itself.
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stderr is not None
            line = next(line for line in server.stderr if "Running on http" in line)
            endpoint = line.split("Running on ")[1].split()[0].removesuffix("\x1b[0m")
            threading.Thread(target=server.stderr.read, daemon=True).start()  # its log must not fill the pipe
            variables = {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ALLOW_HTTP": "true",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": "us-east-1",
            }
            with pytest.MonkeyPatch.context() as patch:
                for name, value in variables.items():
                    patch.setenv(name, value)
                httpx.put(f"{endpoint}/{BUCKET}").raise_for_status()
                yield f"s3://{BUCKET}"
        finally:
            server.terminate()


@pytest.fixture
def url(bucket: str) -> str:
    return f"{bucket}/{uuid.uuid4()}"


class TestS3BlobStore(BlobStoreConformance):
    @pytest.fixture
    def reopen(self, url: str) -> Callable[[], BlobStore]:
        return lambda: BlobStore(url)


class TestS3TableStore(TableStoreConformance):
    @pytest.fixture
    def reopen(self, url: str, tmp_path: Path) -> Callable[[], TableStore]:
        return lambda: TableStore(url, cache=tmp_path)


def test_payloads_and_copies(url: str, tmp_path: Path) -> None:
    payloads = PayloadStore(BlobStore(url), TableStore(url))
    contents = [str(number).encode() for number in range(1000)]
    assert payloads.get_many(payloads.put_many(contents)) == contents
    tables = TableStore(url, cache=tmp_path)
    tables.append("t", pa.table({"n": [1]}))
    assert tables.read("t")["n"].to_pylist() == [1]
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
