"""One Spark per process: where it is, how it is started, and how it is stopped.

The first session starts it, later ones share it, and the end of the process stops it (the Java process ends with this
one in any case). A Spark that the caller's own program has started is used as it is, and left running. What Java and
Spark have to say goes to ``.loopwright/tmp/spark.log``.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import signal
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from loopwright.core.error_text import short_text
from loopwright.core.errors import FeatureError, MissingExtraError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

SCHEME = "spark://"
_LOCAL = re.compile(r"local(\[(\d+|\*)\])?")
_MASTERS = re.compile(r"[\w.\-]+:\d+(,[\w.\-]+:\d+)*")
_SQL = {  # what makes values those of the DuckDB engine, in every session, whoever started Spark
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.storeAssignmentPolicy": "ANSI",
    "spark.sql.caseSensitive": "false",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.writeLegacyFormat": "false",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.parser.escapedStringLiterals": "false",
}
_POLLS, _POLL_S = 300, 0.2  # how long a cluster may take to lend the first worker: one minute


@dataclass(frozen=True)
class SparkPlace:
    """Where Spark runs, read from ``[engine] url``.

    Attributes:
        url: The setting.
        master: Spark's own name of the place: ``local[2]`` or ``spark://host:7077``.
        options: Spark's settings, from the part of the URL after ``?``.
    """

    url: str
    master: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, url: str) -> SparkPlace:
        """Read the setting.

        Raises:
            SettingsError: If it names no place.

        >>> SparkPlace.parse("spark://local[2]").master
        'local[2]'
        >>> SparkPlace.parse("spark://head:7077?spark.executor.memory=4g").options
        (('spark.executor.memory', '4g'),)
        """
        place, _, query = url.removeprefix(SCHEME).rstrip("/").partition("?")
        options = tuple(parse_qsl(query, keep_blank_values=True))
        if (odd := next((name for name, _ in options if not name.startswith("spark.")), None)) is not None:
            raise SettingsError(
                f"The setting [engine] url has the option '{odd}', which is none of Spark's.",
                hint="Options are Spark's own names, as in ?spark.executor.memory=4g.",
            )
        if _LOCAL.fullmatch(place):
            return cls(url, place, options)
        if _MASTERS.fullmatch(place):
            return cls(url, f"spark://{place}", options)
        raise SettingsError(
            f"The setting [engine] url cannot be {url!r}.",
            hint="Use spark://local[2] for two threads here, or spark://host:7077 for a cluster.",
        )

    @property
    def is_local(self) -> bool:
        """Whether it runs in a process on this machine that sees its files."""
        return self.master.startswith("local")

    @property
    def threads(self) -> int:
        """How many threads run here; 0 on a cluster, whose workers say so themselves."""
        found = _LOCAL.fullmatch(self.master)
        count = "" if found is None else (found.group(2) or "1")
        return (os.cpu_count() or 1) if count == "*" else int(count or 0)


@dataclass
class _Running:
    pid: int
    place: SparkPlace
    session: Any  # pyspark.sql.SparkSession


_lock = threading.RLock()
_running: _Running | None = None


def open_session(place: SparkPlace, *, scratch: Path, memory_bytes: int | None = None) -> Any:  # noqa: ANN401
    """Return a Spark session with views and settings of its own, starting Spark if it does not run yet.

    Args:
        place: Where.
        scratch: A folder on this machine for the log and for what is spilled.
        memory_bytes: The most memory of the Java process, if this call starts it here.

    Raises:
        MissingExtraError: If PySpark is not installed.
        FeatureError: If there is no Java, or the cluster cannot be reached or lends no worker.
    """
    global _running  # noqa: PLW0603 - one Spark for the whole process is the purpose
    try:
        import pyspark.sql  # noqa: PLC0415 - an extra, and half a second to import
    except ImportError as error:
        raise MissingExtraError("pyspark", extra="spark") from error
    with _lock:
        if _running is not None and _running.pid != os.getpid():  # a forked child has its parent's sockets, not its own
            _forget()
        if _running is not None and (_running.place != place or _is_stopped(_running.session)):
            stop()
        if _running is None:
            theirs = pyspark.SparkContext._active_spark_context  # noqa: SLF001 - the only way to ask without starting one
            if theirs is not None:
                session = pyspark.sql.SparkSession(theirs).newSession()
                return _prepared(session)
            _running = _Running(os.getpid(), place, _started(place, scratch, memory_bytes))
            atexit.register(stop)
        return _prepared(_running.session.newSession())


def stop() -> None:
    """Stop the Spark that this process has started, if there is one."""
    global _running
    with _lock:
        if _running is None:
            return
        if _running.pid == os.getpid():
            session, _running = _running.session, None
            gateway = session.sparkContext._gateway  # noqa: SLF001 - Spark leaves Java running; ending it is ours
            try:
                session.stop()
            finally:
                _end_java(gateway)
        _forget()


def failures() -> tuple[type[BaseException], ...]:
    """Return the errors that Spark raises, for an ``except``."""
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
    from pyspark.errors import PySparkException  # noqa: PLC0415 - an extra

    return (PySparkException, Py4JError)


def said(error: BaseException) -> str:
    """Return what Spark's error says, without its stack and its advice.

    >>> said(ValueError("Job aborted: org.X: [DIVIDE_BY_ZERO] Division by zero. Use `try_divide`. SQLSTATE: 22012"))
    'Division by zero. Use `try_divide`'
    """
    text = str(error)
    found = re.findall(r"\[[A-Z][A-Z_.0-9]+\] ([^\n]*)", text)
    if not found:
        found = re.findall(r"(?:Exception|Error): ([^\n]+)", text)[:1]
    plain = re.sub(r"\s*SQLSTATE:? ?\w+.*", "", found[-1] if found else text)
    return short_text(ValueError(plain))


def _started(place: SparkPlace, scratch: Path, memory_bytes: int | None) -> Any:  # noqa: ANN401
    from pyspark import SparkConf, SparkContext  # noqa: PLC0415 - an extra
    from pyspark.errors import PySparkRuntimeError  # noqa: PLC0415 - an extra
    from pyspark.java_gateway import launch_gateway  # noqa: PLC0415 - an extra
    from pyspark.sql import SparkSession  # noqa: PLC0415 - an extra

    if not place.is_local:
        _check_reachable(place)
    conf = SparkConf(loadDefaults=False)
    for name, value in {**_settings(place, scratch, memory_bytes), **dict(place.options)}.items():
        conf.set(name, value)
    log = scratch / "spark.log"
    try:
        with log.open("wb") as sink:
            gateway = launch_gateway(conf, {"stdout": sink, "stderr": sink})  # type: ignore[no-untyped-call]
    except (PySparkRuntimeError, OSError) as error:
        last = _last_line(log)
        raise FeatureError(
            f"Spark could not start Java{f': {last}' if last else ''}.",
            hint="Install a Java runtime of version 17 or newer (Debian: apt-get install openjdk-17-jre-headless), or "
            "set JAVA_HOME to one.",
        ) from error
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main else None
    try:
        context = SparkContext(conf=conf, gateway=gateway)
    except Exception as error:
        _forget()
        _end_java(gateway)
        raise FeatureError(
            f"Spark could not be started at {place.url}: {said(error)}.", hint=f"More stands in {log}."
        ) from error
    finally:
        if in_main:
            signal.signal(signal.SIGINT, handler)  # Spark puts its own there
    context.setLogLevel("ERROR")
    logging.getLogger("SQLQueryContextLogger").disabled = True  # writes every failed query's stack to stderr
    if not place.is_local:
        _wait_for_worker(context, gateway, place)
    return SparkSession(context)


def _settings(place: SparkPlace, scratch: Path, memory_bytes: int | None) -> dict[str, str]:
    settings = {
        "spark.master": place.master,
        "spark.app.name": "loopwright",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(scratch / "spark-warehouse"),
        "spark.local.dir": str(scratch / "spark"),
    }
    if place.is_local:
        settings |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.shuffle.partitions": str(place.threads * 2),
        }
        if memory_bytes is not None:
            settings["spark.driver.memory"] = f"{max(memory_bytes // 2**20, 512)}m"
    return settings


def _prepared(session: Any) -> Any:  # noqa: ANN401
    for name, value in _SQL.items():
        session.conf.set(name, value)
    return session


def _check_reachable(place: SparkPlace) -> None:
    """Knock at the masters first: Spark itself tries for a minute, and then says little."""
    reasons = []
    for one in place.master.removeprefix("spark://").split(","):
        host, _, port = one.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as error:
            reasons.append(f"{one}: {error.strerror or error}")
        else:
            return
    raise FeatureError(
        f"The Spark cluster cannot be reached ({'; '.join(reasons)}).",
        hint="Start it, or correct [engine] url in loopwright.toml (duckdb:// needs no cluster).",
    )


def _wait_for_worker(context: Any, gateway: Any, place: SparkPlace) -> None:  # noqa: ANN401
    pause = threading.Event()
    for _ in range(_POLLS):
        if context._jsc.sc().getExecutorMemoryStatus().size() > 1:  # noqa: SLF001 - the first one is this process
            return
        pause.wait(_POLL_S)
    context.stop()
    _forget()
    _end_java(gateway)
    raise FeatureError(
        f"The Spark cluster at {place.url} has lent no worker within a minute.",
        hint="Look at its own page for free cores and memory; ask for less with ?spark.executor.memory=1g.",
    )


def _is_stopped(session: Any) -> bool:  # noqa: ANN401
    try:
        return bool(session.sparkContext._jsc is None or session.sparkContext._jsc.sc().isStopped())  # noqa: SLF001
    except Exception:  # noqa: BLE001 - a Java that has died answers in many ways, and each means the same
        return True


def _end_java(gateway: Any) -> None:  # noqa: ANN401
    gateway.shutdown()
    process = gateway.proc
    if process is not None:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except Exception:  # noqa: BLE001 - it did not end by itself
            process.kill()
            process.wait()


def _forget() -> None:
    """Let PySpark believe that nothing was ever started, so that it starts anew."""
    global _running  # noqa: PLW0603 - as above
    from pyspark import SparkContext  # noqa: PLC0415 - an extra
    from pyspark.sql import SparkSession  # noqa: PLC0415 - an extra

    _running = None
    SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None  # noqa: SLF001
    SparkSession._instantiatedSession = None  # noqa: SLF001


def _last_line(log: Path) -> str:
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return short_text(ValueError(lines[-1])) if lines else ""
