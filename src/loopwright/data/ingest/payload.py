"""Puts the bytes of payload columns into the payload store, and says which images and audio cannot be read."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from loopwright.data.ingest.audio import AudioFacts, examine_audio
from loopwright.data.quality.judge import PAYLOAD_DEFECT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.core.storage.payloads import PayloadStore

_REF = re.compile(r"sha256:[0-9a-f]{64}")
_MEASURES: dict[str, dict[str, pa.DataType]] = {
    "image": {"width": pa.int64(), "height": pa.int64(), "format": pa.string()},
    "audio": {"duration_s": pa.float64(), "sample_rate_hz": pa.int64(), "channels": pa.int64(), "format": pa.string()},
}


def store_payloads(
    batch: pa.Table, columns: Mapping[str, str], store: PayloadStore, *, measures: Sequence[str] = ()
) -> pa.Table:
    """Replace the bytes of payload columns by references, and add why a value is no payload.

    Bytes that cannot be read are stored too, so that the quarantined row leads to them. ``columns`` maps a column to
    ``image`` or ``audio``; ``measures`` (of an image width, height, format; of audio duration_s, sample_rate_hz,
    channels, format) of the first such column become columns.
    """
    for name, type_ in columns.items():
        if name not in batch.column_names:
            continue
        values = batch[name].to_pylist()
        raw = [value for value in values if isinstance(value, bytes)]
        stored = iter(store.put_many(raw) if raw else [])
        named = [value for value in values if isinstance(value, str) and _REF.fullmatch(value)]
        lost = set(store.missing(named)) if named else set()
        refs: list[str | None] = []
        defects: list[str | None] = []
        measured: list[tuple[int, int, str] | AudioFacts | None] = []
        for value in values:
            defect: str | None = None
            found: tuple[int, int, str] | AudioFacts | None = None
            if isinstance(value, bytes):
                refs.append(next(stored))
                defect, found = examine_image(value) if type_ == "image" else examine_audio(value)
            elif value is None:
                refs.append(None)
            else:
                refs.append(str(value)[:200])
                if not (isinstance(value, str) and _REF.fullmatch(value)):
                    defect = f"neither bytes nor a reference: {str(value)[:80]}"
                elif value in lost:
                    defect = f"no payload is stored under {value}"
            defects.append(defect)
            measured.append(found)
        batch = batch.set_column(batch.column_names.index(name), name, pa.array(refs, pa.string()))
        if any(defects):
            batch = batch.append_column(PAYLOAD_DEFECT + name, pa.array(defects, pa.string()))
        for place, (measure, kind) in enumerate(_MEASURES[type_].items()):
            if measure in measures and measure not in batch.column_names:
                values_of = [None if one is None else one[place] for one in measured]
                batch = batch.append_column(measure, pa.array(values_of, kind))
    return batch


def examine_image(data: bytes) -> tuple[str | None, tuple[int, int, str] | None]:
    """Decode an image to its end; return what is wrong with it, or its width, height and format."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return None, (image.width, image.height, image.format or "")
    except UnidentifiedImageError:
        return f"{len(data)} bytes that are no image", None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        return f"{len(data)} bytes, damaged image: {str(error)[:120]}", None
