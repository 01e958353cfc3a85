"""The room ``data``: sources, contracts, ingest, quarantine and snapshots.

Reads sources, writes datasets to the lake. Importing it reads no data and loads no engine; the verbs are in
:mod:`loopwright.data.lake`.
"""

from __future__ import annotations

from loopwright.data.contract.check import expect, fresh, row_count, unique
from loopwright.data.contract.column import column
from loopwright.data.contract.contract import Contract
from loopwright.data.dataset import ColumnRef, Columns, Dataset
from loopwright.data.sources.delta import delta
from loopwright.data.sources.files import files
from loopwright.data.sources.frame import frame
from loopwright.data.sources.http import http
from loopwright.data.sources.kafka import kafka
from loopwright.data.sources.kinesis import kinesis
from loopwright.data.sources.mongo import mongo
from loopwright.data.sources.push import push
from loopwright.data.sources.sql import sql
from loopwright.data.sources.stream import events

# fmt: off
__all__ = [
    "ColumnRef", "Columns", "Contract", "Dataset", "column", "delta", "events", "expect", "files", "frame", "fresh",
    "http", "kafka", "kinesis", "mongo", "push", "row_count", "sql", "unique",
]
# fmt: on
