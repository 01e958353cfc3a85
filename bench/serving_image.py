# ruff: noqa: PLC0415, N806 - the server imports what it needs; X is scikit-learn's name
"""Latency of the image workload: 50 pictures a second, one core, from the picture's bytes to the answer.

    python bench/serving_image.py

The model and the transform are those of ``examples/digits``: a forest of 60 extremely randomised trees on 8 x 8 pixels,
which a transform decodes from a PNG and shrinks. The pictures are scikit-learn's digits, enlarged to 64 x 64. The load
is open: pictures are sent at fixed moments whether or not earlier ones are answered, and a latency counts from when its
picture was due. The server is bound to one core, the client to another where there is one. Then the largest constant
rate is looked for at which the 99th percentile stays below 200 ms and nothing is refused, between 50 a second and what
a closed loop carries; a day of it is set beside the million pictures a day that the workload asks for.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def pixels(images):
    """Decode pictures, shrink them to 8 x 8 and scale them to 0…1, as the example does."""
    import numpy as np
    from PIL import Image

    decoded = [Image.open(io.BytesIO(image)).convert("L").resize((8, 8), Image.Resampling.BOX) for image in images]
    return np.stack([np.asarray(image, dtype=np.float32).reshape(64) / 255 for image in decoded])


def pictures() -> tuple[list[bytes], list[int]]:
    """Return scikit-learn's digits as PNG files of 64 x 64, and what they show."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    files = []
    for picture in digits.images:
        grey = Image.fromarray((picture * 255 / 16).astype(np.uint8)).resize((64, 64), Image.Resampling.NEAREST)
        file = io.BytesIO()
        grey.save(file, "PNG")
        files.append(file.getvalue())
    return files, digits.target.tolist()


def prepare(folder: Path, files: list[bytes], labels: list[int]) -> None:
    """Train, register and promote the model."""
    import numpy as np
    import pyarrow as pa
    from sklearn.ensemble import ExtraTreesClassifier

    from loopwright.core.ref import Ref
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.features.assembly import FeatureAssembly, TransformCall, assembly_to_bytes
    from loopwright.features.columns import to_arrow
    from loopwright.features.field import Field
    from loopwright.features.request import RequestField
    from loopwright.registry.alias import Aliases, Override
    from loopwright.registry.candidate import Candidate
    from loopwright.registry.registry import Registry
    from loopwright.training.estimators.choice import save_model

    field = Field("pixels", "float32", shape=(64,), origin="transform")
    X = pixels(files)
    model = ExtraTreesClassifier(60, max_depth=14, random_state=0).fit(X, np.array(labels))
    stores = open_stores(Settings.load(folder, environ={}))
    (folder / "run").mkdir()
    call = TransformCall("pixels", ("image",), pixels, 256, field)
    Registry(stores).register(
        Candidate(
            model="digit",
            run_id="run",
            model_file=save_model(model, folder / "run", trust=True),
            model_path=folder / "run",
            fields=(field,),
            assembly=assembly_to_bytes(
                FeatureAssembly((RequestField("image", "image"),), (field,), transforms=(call,))
            ),
            training_set=Ref("training_set", "bench"),
            training_rows=pa.table({"pixels": to_arrow(X, field)}),
        )
    )
    why = Override("bench", "a benchmark")
    Aliases(stores).move("digit", "champion", 1, expected=None, by="bench", override=why)
    stores.close()


def serve_digits(folder: Path, port: int) -> None:
    """Run the server."""
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.serving.deploy import online
    from loopwright.serving.models.model_source import RegistrySource
    from loopwright.serving.server.running import serve
    from loopwright.serving.server_plan import ServerPlan

    stores = open_stores(Settings.load(folder, environ={}))
    serve(stores, RegistrySource(stores), ServerPlan(models={"digit": online()}, port=port, drain_delay_s=0))


async def load(port: int, files: list[bytes], rate: float, seconds: float) -> list[float]:
    """Send pictures at ``rate`` per second and return the latencies in milliseconds, sorted."""
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    latencies: list[float] = []

    async def one(due: float, file: bytes) -> None:
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        head = b"POST /predict/digit HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(file) + file)
        answer = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", answer)[1]))
        if b" 200 " not in answer:
            raise SystemExit(body.decode())
        latencies.append((time.perf_counter() - due) * 1000)
        idle.append((reader, writer))

    began = time.perf_counter() + 0.05
    tasks = []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due, files[number % len(files)])))
    await asyncio.gather(*tasks)
    for _, writer in idle:
        writer.close()
    return sorted(latencies)


def most_per_second(port: int, files: list[bytes], *, p99_ms: float = 200.0, seconds: float = 4.0) -> float:
    """Return the largest rate, to some 3 %, that is answered within the limit."""
    from serving_load import at_rate, closed, http_request

    requests = [http_request("/predict/digit", file, "image/png") for file in files[:200]]
    low, high = 50.0, 1.2 * closed(port, requests, 32, seconds).rps
    while high / low > 1.03:
        rate = (low * high) ** 0.5
        found = at_rate(port, requests, rate, seconds)
        if found.failed == 0 and found.quantile_ms(0.99) < p99_ms:
            low = rate
        else:
            high = rate
    return low


def is_ready(port: int) -> bool:
    """Ask the server."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as sock:
            sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return b" 200 " in sock.recv(100)
    except OSError:
        return False


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    if options.folder:
        serve_digits(options.folder, options.port)
        return
    files, labels = pictures()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name), files, labels)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, __file__, "--folder", name, "--port", str(port)],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )
        try:
            os.sched_setaffinity(process.pid, {cores[0]})
            os.sched_setaffinity(0, {cores[-1]})
            while not is_ready(port):
                if process.poll() is not None:
                    raise SystemExit(f"the server ended with {process.returncode}")
                time.sleep(0.02)
            asyncio.run(load(port, files, options.rate, 1.0))
            found = asyncio.run(load(port, files, options.rate, options.seconds))
            most = most_per_second(port, files)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    p50, p99, worst = found[len(found) // 2], found[int(len(found) * 0.99)], found[-1]
    print(f"{len(found)} pictures at {options.rate:.0f}/s: p50 {p50:.2f} ms   p99 {p99:.2f} ms   worst {worst:.2f} ms")
    print(
        f"one worker on one core: {most:.0f} pictures/s with p99 < 200 ms, {86400 * most / 1e6:.0f} million a day, "
        f"{86400 * most / 1e6:.0f} times the 1 million asked for"
    )


if __name__ == "__main__":
    main()
