"""Making a worker: a fork of the supervisor, which is one thread and has opened nothing that a fork would break.

What a child of ``fork`` keeps is the memory and the file descriptors; what it loses is every thread but the one that
forked, with whatever locks those held. So the supervisor imports what its workers need, and that is all: stores, the
pool of SQLAlchemy, DuckDB, the runtime of obstore, Arrow's thread pools, ONNX Runtime (it begins a thread at its
import), gRPC and the event loop come into being in the worker. Two kinds of threads are there after the imports, and
both know forks: OpenBLAS joins its pool before a fork and makes it anew after it (``pthread_atfork``), and is held to
one thread besides (`loopwright.core.openmp`), so that there is no pool; the allocator that Arrow brings (jemalloc)
stops its background thread across a fork the same way. That the supervisor has one Python thread is checked at each
fork.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, NoReturn

from loopwright.core.errors import FailedError, LoopwrightError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_FAILED, _NO = 1, 100


def fork_worker(work: Callable[[], None], *, close: Iterable[Callable[[], None]]) -> int:
    """Run ``work`` in a child; return its process id here.

    Args:
        work: What the child does; its end is the child's.
        close: What only this process needs: called in the child first.

    Raises:
        RuntimeError: When this process has another thread, whose locks the child would find taken for ever.
    """
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate())
        raise RuntimeError(f"a process with several threads cannot fork workers: {names}")
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _live(work, close)
    return pid


def said_by_child(question: Callable[[], bool]) -> bool:
    """Answer a question for which something must be opened, in a child, so that nothing is open here.

    Raises:
        FailedError: When the child could not answer; it said why.
    """

    def answer() -> None:
        if not question():
            os._exit(_NO)

    pid = fork_worker(answer, close=())
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, _NO):
        raise FailedError("The workspace's stores could not be read.", hint="The reason stands above.")
    return code == 0


def _live(work: Callable[[], None], close: Iterable[Callable[[], None]]) -> NoReturn:
    code = _FAILED
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it means the group, and is for the supervisor
        for unneeded in close:
            unneeded()
        work()
        code = 0
    except LoopwrightError as error:
        code = error.exit_code
        hint = f"\n{error.hint}" if error.hint else ""
        sys.stderr.write(f"{error.message}{hint}\n")
    except KeyboardInterrupt:
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
