"""One process that imports what its children need, and forks each of them: a child that is killed shares the imports.

Starting an interpreter for each kill costs a second of imports; a fork costs some milliseconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

LOOP = """
import json, os, sys, traceback

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what a child prints is no answer

def forked(environ, arguments):
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    code = 1
    try:
        os.environ.update(environ)
        os.write(writing, json.dumps(main(*arguments)).encode())
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

for line in sys.stdin:
    children = [forked(*one) for one in json.loads(line)]
    ended = []
    for child, reading in children:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with os.fdopen(reading) as pipe:
            ended.append([code, json.loads(pipe.read() or "null")])
    print(json.dumps(ended), file=answers, flush=True)
"""


class Forks:
    """Run ``main(*arguments)`` in children of one process.

    Args:
        code: Python that imports and defines ``main``, and starts no threads. What ``main`` returns is short JSON.
    """

    def __init__(self, code: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", code + LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, *arguments: str | float | Path, environ: Mapping[str, str] | None = None) -> int:
        """Wait for a child, and return how it ended: its exit code, or the negative signal that killed it."""
        return self._ended([[dict(environ or {}), arguments]])[0][0]

    def together(self, *children: Sequence[object]) -> list[object]:
        """Run children side by side, each with its arguments; all have to end well, and what they return comes back."""
        ended = self._ended([[{}, arguments] for arguments in children])
        assert [code for code, _ in ended] == [0] * len(children)
        return [said for _, said in ended]

    def _ended(self, children: object) -> list[tuple[int, object]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(children, default=str), file=self._process.stdin, flush=True)
        ended: list[tuple[int, object]] = json.loads(self._process.stdout.readline())
        return ended

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
