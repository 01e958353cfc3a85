"""Reads files: tables, and folders of images, audio and texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.data.sources.listing import list_source
from loopwright.data.sources.payload_folder import plan_payloads
from loopwright.data.sources.plan import is_known, plan_files

if TYPE_CHECKING:
    from loopwright.data.sources.files import FilesSource
    from loopwright.data.sources.plan import Plan
    from loopwright.data.sources.reader import Reading


class FilesReader:
    """Reads what a pattern matches; a file is known by name, size, time and content."""

    def plan(self, source: FilesSource, reading: Reading) -> Plan:
        """Return the files that are new or changed."""
        if source.payload is not None:
            return plan_payloads(source, reading.project, reading.known, folder=reading.folder)
        return plan_files(source, reading.project, reading.known, has_key=reading.has_key, folder=reading.folder)

    def has_new(self, source: FilesSource, reading: Reading) -> bool:
        """Compare names, sizes and times."""
        listed = list_source(source.describe(), reading.project) or []
        return not all(is_known(one, reading.known) for one in listed)
