"""What goes wrong with tables, in our own words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
from deltalake.exceptions import DeltaError

from loopwright.core.errors import DeclarationError, StoreCorruptError, StoreError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def reading(table: str, where: str | None = None) -> Iterator[None]:
    """Turn the exceptions of a read, by DuckDB or by delta-rs, into ours."""
    try:
        yield
    except (duckdb.BinderException, duckdb.ParserException, duckdb.ConversionException) as error:
        first = str(error).split("\n", 1)[0]
        asked = f" where {where}" if where else ""
        raise DeclarationError(
            f"Table '{table}' cannot be read{asked}: {first}",
            hint="Correct the condition." if where else "Correct the names of the columns.",
        ) from error
    except (duckdb.IOException, duckdb.InvalidInputException, pa.ArrowInvalid) as error:
        first = str(error).split("\n", 1)[0]
        raise StoreCorruptError(
            f"A file of table '{table}' is missing or damaged: {first}",
            hint="Restore it from a backup, or read a newer version if a vacuum removed it.",
        ) from error


@contextmanager
def committing(doing: str) -> Iterator[None]:
    """Turn delta-rs' exceptions into ours."""
    try:
        yield
    except (DeltaError, OSError) as error:
        first = str(error).split("\n", 1)[0]
        if "No space left on device" in str(error) or "StorageFull" in str(error):
            raise StoreFullError(
                f"No space is left to {doing}.", hint="Free some space, or run: loopwright gc --dry-run"
            ) from error
        raise StoreError(f"Could not {doing}: {first}") from error
