"""Rows handed over by HTTP: pushed through the dataset's contract, and durable before the caller is thanked."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from loopwright.core.errors import (
    IngestStoppedError,
    InvalidRequestError,
    LoopwrightError,
    NotFoundRequestError,
    NotReadyError,
    RequestError,
    SourceError,
    TooLargeError,
    UsageError,
)
from loopwright.serving.http_message import BadFieldError, HttpResponse, decode_json, json_response
from loopwright.serving.rows_body import MAX_ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from loopwright.data.dataset import Dataset
    from loopwright.data.lake import Lake


class IngestDoor:
    """Take rows for the datasets of one server whose source is ``lw.push()``."""

    def __init__(self, lake: Lake, *, datasets: Mapping[str, Dataset], executor: Executor) -> None:
        self._lake = lake
        self._datasets = datasets
        self._executor = executor

    async def receive(self, name: str, body: bytes) -> HttpResponse:
        """Push the rows of a body; 200 means that they are stored, or in the quarantine with their reasons.

        Args:
            name: The dataset, from the path.
            body: ``{"rows": [{…}], "batch_id": "…"}`` or a bare list of rows. The same ``batch_id`` again adds nothing.

        Raises:
            NotFoundRequestError: When there is no such dataset, or it fetches its rows itself.
            InvalidRequestError: When the body holds no rows, or the contract stops them.
            NotReadyError: When the stores cannot take them now; nothing was stored.
        """
        dataset = self._datasets.get(name)
        if dataset is None:
            known = ", ".join(sorted(self._datasets)) or "none"
            raise NotFoundRequestError(f"No dataset '{name[:200]}' takes rows here.", hint=f"Those that do: {known}.")
        document = decode_json(body)
        rows, batch_id = _rows(document)
        push = partial(self._lake.push, dataset, rows, batch_id=batch_id)
        try:
            report = await asyncio.get_running_loop().run_in_executor(self._executor, push)
        except RequestError:
            raise
        except (UsageError, SourceError, IngestStoppedError) as error:
            raise InvalidRequestError(error.message, hint=error.hint) from error
        except LoopwrightError as error:
            raise NotReadyError(error.message, hint=error.hint) from error
        return json_response(
            {
                "dataset": name,
                "accepted": report.rows_accepted,
                "quarantined": report.rows_quarantined,
                "duplicate": report.rows_duplicate,
                "reasons": dict(report.reasons),
            }
        )


def _rows(document: object) -> tuple[list[dict[str, object]], str | None]:
    batch_id = None
    if isinstance(document, dict) and "rows" in document:
        batch_id = document.get("batch_id")
        if batch_id is not None and not isinstance(batch_id, str):
            raise BadFieldError("A batch_id is a text.", field="batch_id", hint="Send the same one when you repeat.")
        document = document["rows"]
    if not isinstance(document, list) or not document or not all(isinstance(row, dict) for row in document):
        raise InvalidRequestError("There are no rows.", hint='Send {"rows": [{…}, …]} with objects, one per row.')
    if len(document) > MAX_ROWS:
        raise TooLargeError(f"There are {len(document)} rows; at most {MAX_ROWS} are accepted at once.")
    return document, batch_id
