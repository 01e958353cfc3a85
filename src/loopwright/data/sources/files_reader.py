"""Reads files: tables, and folders of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.data.sources.images import has_changed, plan_images
from loopwright.data.sources.listing import list_source
from loopwright.data.sources.plan import plan_files

if TYPE_CHECKING:
    from loopwright.data.sources.files import FilesSource
    from loopwright.data.sources.plan import Plan
    from loopwright.data.sources.reader import Reading


class FilesReader:
    """Reads what a pattern matches; a file is known by name, size, time and content."""

    def plan(self, source: FilesSource, reading: Reading) -> Plan:
        """Return the files that are new or changed."""
        if source.is_images:
            return plan_images(source, reading.project, reading.known, folder=reading.folder)
        return plan_files(source, reading.project, reading.known, has_key=reading.has_key, folder=reading.folder)

    def has_new(self, source: FilesSource, reading: Reading) -> bool:
        """Compare names, sizes and times."""
        listed = list_source(source.describe(), reading.project)
        return listed is not None and has_changed(listed, reading.known)
