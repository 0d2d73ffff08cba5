"""A server on loopback with OpenAI's chat completions API: busy, unavailable, redirecting or broken as a test asks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeServer(ThreadingHTTPServer):
    """Answers `reply(body, number)`: a status (0: hang up), headers, and JSON or bytes; records every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()
        self.reply: Callable[[dict[str, Any], int], tuple[int, dict[str, str], Any]] = lambda body, _: (
            200,
            {},
            chat_completion("echo " + body["messages"][-1]["content"]),
        )

    @classmethod
    @contextmanager
    def listening(cls) -> Iterator[FakeServer]:
        """A server that answers while the block runs."""
        fake = cls()
        threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield fake
        finally:
            fake.shutdown()
            fake.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body | {"path": self.path})
            self.server.keys.append(self.headers["Authorization"])
            number = len(self.server.asked)
            self.server.busy += 1
            self.server.most_busy = max(self.server.most_busy, self.server.busy)
        status, headers, content = self.server.reply(body, number)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        with self.server.lock:
            self.server.busy -= 1
        if status == 0:  # hang up
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):  # the client has not waited
            self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


def chat_completion(text: str | None, finish_reason: str | None = "stop", tokens: int = 3) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return {"choices": [choice], "usage": {"completion_tokens": tokens}}
