"""Blobs, tables and payloads on S3: moto's server on the loopback address, spoken to as any other endpoint."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from tests.servers import s3_bucket

from loopwright.core.storage.blobs import BlobStore
from loopwright.core.storage.conformance.blob_store import BlobStoreConformance
from loopwright.core.storage.conformance.table_store import TableStoreConformance
from loopwright.core.storage.payloads import PayloadStore
from loopwright.core.storage.tables import TableStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket() as url:
        yield url


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
