"""How the threads of numeric libraries wait for work: asleep, not spinning."""

from __future__ import annotations

import os


def wait_asleep() -> None:
    """Let OpenMP threads of this process and its children sleep while they wait, unless the user chose otherwise.

    By default GNU OpenMP spins. With fewer cores than threads, spinning threads keep working ones off the cores: one
    training took 66 s instead of 7 on a busy machine. It has an effect only before the first numeric library is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
