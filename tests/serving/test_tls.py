"""TLS by files: a server with one worker and with two, a gRPC door, and every way in which the files are wrong."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import grpc
import httpx
import pytest
from tests.serving.grpc.doors import MESSAGES, RunningDoor

from loopwright.core.errors import SettingsError
from loopwright.core.settings import Settings
from loopwright.serving.calls.endpoint import Active
from loopwright.serving.releases.router import Routing
from loopwright.serving.tls import TlsFiles


def made(folder, name: str, *more: str) -> TlsFiles:
    """Make a certificate that vouches for itself, for this machine's loopback address."""
    files = TlsFiles(folder / f"{name}.pem", folder / f"{name}.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"),
            *("-subj", "/CN=loopback", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-keyout", str(files.key), "-out", str(files.certificate), *(more or ("-noenc",))),
        ],
        check=True,
        capture_output=True,
    )
    return files


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> TlsFiles:
    return made(tmp_path_factory.mktemp("tls"), "server")


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> TlsFiles:
    return made(tmp_path_factory.mktemp("tls"), "other")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_speaks_tls(start_server, files, others, workers):
    server = start_server(ready=False, workers=workers, tls=[str(files.certificate), str(files.key)])
    url = f"https://127.0.0.1:{server.port}"
    server.client.close()
    server.client = httpx.Client(base_url=url, verify=ssl.create_default_context(cafile=files.certificate), timeout=120)
    server.wait_for(server.is_ready)
    for number in range(20):
        assert server.predict(number).json()["predictions"] == [1000.0 + number]
    large = [{"x": float(number % 1000)} for number in range(20_000)]
    assert server.client.post("/predict/nonce", json=large).json()["predictions"][-1] == 1999.0
    assert "loopwright_requests_total" in server.client.get("/metrics").text
    stranger = ssl.create_default_context(cafile=others.certificate)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{url}/livez", verify=stranger)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{server.port}/livez")
    assert server.predict(1).status_code == 200, "what was no TLS has harmed nobody"
    assert server.stop() == 0


def test_grpc_speaks_tls(make_endpoint, make_slot, stores, files, others):
    parts = make_endpoint()
    parts.endpoint.active = Active(Routing(1), make_slot(1))
    door = RunningDoor(parts, stores=stores, tls=files)
    ready, answer = (MESSAGES[f"inference.ServerReady{kind}"] for kind in ("Request", "Response"))

    def ask(trusted: TlsFiles) -> bool:
        credentials = grpc.ssl_channel_credentials(trusted.certificate.read_bytes())
        with grpc.secure_channel(f"localhost:{door.port}", credentials) as channel:
            call = channel.unary_unary(
                "/inference.GRPCInferenceService/ServerReady",
                request_serializer=ready.SerializeToString,
                response_deserializer=answer.FromString,
            )
            return call(ready(), timeout=20).ready

    try:
        assert ask(files)
        with pytest.raises(grpc.RpcError) as refused:
            ask(others)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        door.close()


def test_files_that_cannot_be_used_are_named(files, others, tmp_path):
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    encrypted = made(tmp_path, "encrypted", "-passout", "pass:secret")
    wrong = [
        (TlsFiles(tmp_path / "gone.pem", files.key), r"tls_certificate cannot be read: .*gone\.pem \(No such file"),
        (TlsFiles(files.certificate, tmp_path), "tls_key cannot be read: .*Is a directory"),
        (TlsFiles(files.certificate, others.key), "does not belong to the certificate"),
        (TlsFiles(nonsense, files.key), r"nonsense\.pem with the key .* cannot be used"),
        (encrypted, "is encrypted"),
    ]
    for one, said in wrong:
        with pytest.raises(SettingsError, match=said):
            one.context(protocols=("http/1.1",))


def test_the_settings_name_both_files_or_none(tmp_path):
    (tmp_path / "loopwright.toml").write_text('[serving]\ntls_certificate = "tls/server.pem"\n')
    only = Settings.load(tmp_path, environ={})
    with pytest.raises(SettingsError, match="tls_key is missing"):
        TlsFiles.of(only.serving_tls_certificate, only.serving_tls_key, project=only.project)
    both = Settings.load(tmp_path, environ={"LOOPWRIGHT_SERVING_TLS_KEY": "/etc/server.key"})
    found = TlsFiles.of(both.serving_tls_certificate, both.serving_tls_key, project=both.project)
    assert found == TlsFiles(both.project / "tls/server.pem", Path("/etc/server.key"))
    assert TlsFiles.of(None, None, project=tmp_path) is None


def test_a_server_with_wrong_files_does_not_begin(start_server, files, others, tmp_path):
    with pytest.raises(AssertionError, match="does not belong to the certificate"):
        start_server(ready=False, workers=2, tls=[str(files.certificate), str(others.key)])
