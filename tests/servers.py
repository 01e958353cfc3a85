"""Real servers on the loopback address, for the length of a block."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

BUCKET = "loopwright-test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def s3_bucket() -> Iterator[str]:
    """An empty bucket of moto's server, which the ``AWS_`` variables point to meanwhile."""
    # A process of its own: delta-rs holds the interpreter's lock over some requests, and would wait for itself.
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stderr is not None
            line = next(line for line in server.stderr if "Running on http" in line)
            endpoint = line.split("Running on ")[1].split()[0].removesuffix("\x1b[0m")
            threading.Thread(target=server.stderr.read, daemon=True).start()  # its log must not fill the pipe
            variables = {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ALLOW_HTTP": "true",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": "us-east-1",
            }
            with pytest.MonkeyPatch.context() as patch:
                for name, value in variables.items():
                    patch.setenv(name, value)
                httpx.put(f"{endpoint}/{BUCKET}").raise_for_status()
                yield f"s3://{BUCKET}"
        finally:
            server.terminate()


@contextmanager
def postgresql(user: str, password: str | None = None) -> Iterator[str]:
    """The address of a PostgreSQL server; root hands it to the user postgres, as it refuses to run as root."""
    initdb, control = _program("initdb"), _program("pg_ctl")
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    (folder / "password").write_text(password or "")
    if prefix:
        shutil.chown(folder, "postgres")
        shutil.chown(folder / "password", "postgres")
    port, data = free_port(), folder / "data"
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"

    def run(*words: object) -> None:
        subprocess.run([*prefix, *map(str, words)], check=True, stdout=subprocess.DEVNULL, cwd=folder)

    asked = ["-A", "trust"] if password is None else ["-A", "scram-sha-256", f"--pwfile={folder / 'password'}"]
    run(initdb, "-D", data, "-U", user, *asked)
    run(control, "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
    try:
        yield f"127.0.0.1:{port}"
    finally:
        run(control, "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def _program(name: str) -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = found[-1] if found else shutil.which(name)
    if path is None:
        pytest.skip(f"PostgreSQL's {name} is not installed")
    return Path(path)
