"""One process that imports what its children need, and forks each of them: a child that is killed shares the imports.

Starting an interpreter for each kill costs a second of imports; a fork costs some milliseconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

LOOP = """
import json, os, sys, traceback

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what a child prints is no answer
for line in sys.stdin:
    environ, arguments = json.loads(line)
    child = os.fork()
    if not child:
        code = 1
        try:
            os.environ.update(environ)
            main(*arguments)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
"""


class Forks:
    """Run ``main(*arguments)`` in children of one process.

    Args:
        code: Python that imports and defines ``main``; it starts no threads.
    """

    def __init__(self, code: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", code + LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, *arguments: str | float | Path, environ: Mapping[str, str] | None = None) -> int:
        """Wait for a child, and return how it ended: its exit code, or the negative signal that killed it."""
        plain = [one if isinstance(one, int | float | str) else str(one) for one in arguments]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([dict(environ or {}), plain]), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
