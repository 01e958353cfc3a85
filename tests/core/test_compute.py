"""The compute port: its suite, run by processes of this machine; what only they have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.core.compute_local import LocalCompute
from loopwright.core.computes import open_compute
from loopwright.core.conformance.compute import SUITE, work_in
from loopwright.core.errors import SettingsError

KILLED = """
import os, signal, sys
from pathlib import Path
from loopwright.core.conformance.compute import work_in
from loopwright.core.compute_local import LocalCompute
for end in LocalCompute(1).run(work_in(Path(sys.argv[1])), ["pid", "pid"]):
    print(end.value, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("promise", SUITE, ids=lambda one: one.__name__)
def test_processes_keep_the_promises_of_the_port(promise, tmp_path):
    promise(LocalCompute(2), tmp_path)


def test_workers_are_other_processes_and_none_where_none_is_wanted(tmp_path):
    ends = list(LocalCompute(2).run(work_in(tmp_path), ["pid"] * 4))
    assert os.getpid() not in {one.value for one in ends}
    assert {one.value for one in LocalCompute(0).run(work_in(tmp_path), ["pid"] * 2)} == {os.getpid()}


def test_workers_end_with_the_process_that_made_them(tmp_path):
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False)
    worker = int(run.stdout)
    assert run.returncode == -9
    while (
        True
    ):  # it sees that its parent is gone; a worker that never ended would hang here, and fail by the time limit
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            break
        if _is_zombie(worker):
            break


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("url", ["local://?cores=2", "local://?workers=two", "ray://", "dask://here"])
def test_a_url_that_cannot_be_used_is_refused(url):
    with pytest.raises(SettingsError, match="compute"):
        open_compute(url)
