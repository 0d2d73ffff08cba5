"""The endpoint's client: whom it trusts, where the key goes, and how much it reads."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.generation.engines import endpoint_client
from l2s.generation.engines.endpoint_client import Client, check_endpoint
from l2s.secret_variables import ENDPOINT_KEY

Make = Callable[..., ExperimentConfig]
KEY = "sk-not-to-be-seen"


class Handler(BaseHTTPRequestHandler):
    """Answers everything with {"ok": true} and keeps what it was asked."""

    server: Server

    def do_POST(self) -> None:
        self.server.heard.append((self.path, str(self.headers["Authorization"])))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.reply)

    def log_message(self, *arguments: object) -> None:
        pass


class Server(HTTPServer):
    reply = b'{"ok": true}'

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[tuple[str, str]] = []

    def handle_error(self, *arguments: object) -> None:  # a client that hangs up
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    fake = Server()
    threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield fake
    fake.shutdown()
    fake.server_close()


def client(server: Server, scheme: str = "http", key: str | None = KEY) -> Client:
    url = f"{scheme}://127.0.0.1:{server.server_address[1]}/v1"
    return Client(url, key, timeout_s=10, tries=1, per_minute=0)


@pytest.fixture
def certificate(server: Server, tmp_path: Path) -> Path:
    """Let the server speak TLS with a certificate that it has signed itself."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed: no certificate can be made")
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *kind, *names, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return tmp_path / "cert.pem"


def test_a_certificate_that_nobody_vouches_for_is_refused_and_sees_no_key(server: Server, certificate: Path) -> None:
    with pytest.raises(
        UserError, match=r"teacher_endpoint=.*TLS certificate cannot be verified .*self.signed"
    ) as caught:
        client(server, "https").post("/chat", {"a": 1}, dict)
    assert "\n" not in str(caught.value)
    assert server.heard == []


def test_a_certificate_of_an_own_authority_is_accepted_where_it_is_named(
    server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert client(server, "https").post("/chat", {}, dict) == {"ok": True}
    assert server.heard == [("/v1/chat", f"Bearer {KEY}")]


def test_a_server_on_this_machine_is_asked_past_any_proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key may travel in the clear, because it does not leave the machine; to a proxy it would."""
    proxy = Server()
    threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_address[1]}")
    monkeypatch.delenv("no_proxy", raising=False)
    client(server).post("/chat", {}, dict)
    proxy.shutdown()
    proxy.server_close()
    assert proxy.heard == []
    assert server.heard == [("/v1/chat", f"Bearer {KEY}")]


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY} ", f"{KEY}\r\n"])
def test_white_space_around_a_key_is_left_out(
    server: Server, tiny_config: Make, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(ENDPOINT_KEY, key)
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    Client.of(tiny_config(engine="endpoint", teacher_endpoint=url)).post("/chat", {}, dict)
    assert server.heard == [("/v1/chat", f"Bearer {KEY}")]


@pytest.mark.parametrize("key", [f"{KEY}\nX-Other: 1", f"{KEY}\x7f", f"{KEY}…", f"{KEY}\ud800"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(
    server: Server, tiny_config: Make, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr("os.environ", {ENDPOINT_KEY: key})
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    with pytest.raises(UserError, match=ENDPOINT_KEY) as caught:
        Client.of(tiny_config(engine="endpoint", teacher_endpoint=url))
    assert KEY not in str(caught.value)
    assert server.heard == []


def test_a_reply_without_end_does_not_fill_the_memory(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_client, "MOST_BYTES", 1000)
    server.reply = json.dumps({"text": "x" * 2000}).encode()
    with pytest.raises(UserError, match="a reply of more than 1000 bytes"):
        client(server).post("/chat", {}, dict)


def test_a_reply_in_drops_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Drops:
        """Sends a byte each second, by a clock of its own."""

        def __init__(self) -> None:
            self.now = 0.0

        def read1(self, size: int) -> bytes:
            self.now += 1
            return b" "

    drops = Drops()
    monkeypatch.setattr(time, "monotonic", lambda: drops.now)
    with pytest.raises(TimeoutError, match="no whole reply within 5 s"):
        endpoint_client._read(drops, 5)
    assert drops.now == 6


@contextmanager
def dripping(first: bytes, drop: bytes) -> Iterator[str]:
    """The URL of a server that sends `first`, and then a `drop` every few milliseconds until the block ends."""
    over, listening = threading.Event(), socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.sendall(first)
            while not over.wait(0.01):
                connection.sendall(drop)

    threading.Thread(target=drip, daemon=True).start()
    with listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        over.set()


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b"H"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Drops: ", b"x"),
        (b"HTTP/1.1 503 Busy\r\nX-Drops: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" "),
    ],
    ids=["status line", "interim replies", "headers", "headers of a refusal", "body"],
)
def test_the_time_of_a_reply_bounds_the_whole_exchange(first: bytes, drop: bytes) -> None:
    with dripping(first, drop) as url, pytest.raises(UserError, match=r"no whole reply within 0\.3 s"):
        Client(url, None, timeout_s=0.3, tries=1, per_minute=0).post("/chat", {}, dict)


def test_only_loopback_may_get_a_key_in_the_clear(tiny_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT_KEY, KEY)
    for host in ("127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "127.1", "2130706433"):
        with pytest.raises(UserError, match="would travel unencrypted"):
            check_endpoint(tiny_config(engine="endpoint", teacher_endpoint=f"http://{host}/v1"))
