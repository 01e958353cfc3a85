"""How many threads numeric libraries start, and how those wait for work: asleep, not spinning."""

from __future__ import annotations

import os


def wait_asleep() -> None:
    """Let OpenMP threads of this process and its children sleep while they wait, unless the user chose otherwise.

    By default GNU OpenMP spins. With fewer cores than threads, spinning threads keep working ones off the cores: one
    training took 66 s instead of 7 on a busy machine. It has an effect only before the first numeric library is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def environment_of_one_thread() -> dict[str, str]:
    """Return this process's variables with one thread for each numeric library, where the user says nothing else.

    For a child whose processes give the parallelism, and which forks: what has no pool of threads loses none.
    """
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return {**dict.fromkeys(names, "1"), **os.environ}
