"""The stores on an S3 endpoint, where one is given: ``LOOPWRIGHT_TEST_S3_URL=s3://bucket`` and the ``AWS_`` variables.

A moto server will do: ``moto_server -p 5999``, ``AWS_ENDPOINT_URL=http://127.0.0.1:5999``, ``AWS_ALLOW_HTTP=true``.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from loopwright.core.storage.blobs import BlobStore
from loopwright.core.storage.conformance.blob_store import BlobStoreConformance
from loopwright.core.storage.conformance.table_store import TableStoreConformance
from loopwright.core.storage.payloads import PayloadStore
from loopwright.core.storage.tables import TableStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

URL = os.environ.get("LOOPWRIGHT_TEST_S3_URL")
if not URL:
    pytest.skip("LOOPWRIGHT_TEST_S3_URL names no bucket", allow_module_level=True)


@pytest.fixture
def url() -> str:
    return f"{URL}/{uuid.uuid4()}"


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
