"""Reads ORC files, in a process of their own.

The decoder of ORC does not check what it reads: about one in five hundred files with a few damaged bytes ends its
process by a segmentation fault (Arrow 26; 3,000 files tried). Here that ends a child, and the file is one entry in the
quarantine. The child hands its rows on as an Arrow stream, a stripe at a time.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.data.sources.unit import UnreadableUnitError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHILD = """
import sys
import pyarrow as pa
import pyarrow.orc
try:
    file = pyarrow.orc.ORCFile(sys.argv[1])
    with pa.ipc.new_stream(sys.stdout.buffer, file.schema) as writer:
        for number in range(file.nstripes):
            writer.write_batch(file.read_stripe(number))
except BrokenPipeError:
    sys.exit(1)
except Exception as error:
    sys.exit(str(error).split(chr(10), 1)[0] or type(error).__name__)
"""


def orc_stream(path: Path) -> Iterator[pa.Table]:
    """Give an ORC file without its rows, for the columns, then its rows, stripe by stripe.

    Raises:
        UnreadableUnitError: If the file is damaged.
    """
    command = [sys.executable, "-c", _CHILD, str(path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603 - our own program
    with child:
        try:
            # a child that ends early leaves no stream, or a part of one: why is in its exit, below
            with contextlib.suppress(pa.ArrowInvalid, OSError), pa.ipc.open_stream(child.stdout) as reader:
                yield reader.schema.empty_table()
                for batch in reader:
                    yield pa.Table.from_batches([batch])
        except GeneratorExit:
            child.kill()
            raise
        said = child.stderr.read().decode(errors="replace").strip() if child.stderr is not None else ""
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise UnreadableUnitError(f"the file is damaged or not complete: its decoder crashed ({name})")
    if child.returncode:
        raise UnreadableUnitError(f"the file is damaged or not complete: {said}")
