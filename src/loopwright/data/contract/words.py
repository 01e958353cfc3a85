"""The words of contracts: the types of columns, and what becomes of a row that fails."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal, get_args

ColumnType = Literal["int", "float", "string", "category", "bool", "timestamp", "date", "image", "audio", "text"]
OnFailure = Literal["quarantine", "stop", "warn"]
Sensitive = Literal["hash", "mask", "drop", "restrict"]
Scalar = bool | int | float | str | date | datetime

COLUMN_TYPES: tuple[str, ...] = get_args(ColumnType)
BYTES_TYPES = frozenset({"image", "audio"})
PAYLOAD_TYPES = BYTES_TYPES | {"text"}
NUMBER_TYPES = frozenset({"int", "float"})
ORDERED_TYPES = NUMBER_TYPES | {"timestamp", "date"}
TEXT_TYPES = frozenset({"string", "category", "text"})
SYSTEM_COLUMNS = ("_source", "_source_row", "_arrived_at", "_ingest_id")
WHOLE_INGEST = ("warn", "stop")  # what may follow where no row is to blame
