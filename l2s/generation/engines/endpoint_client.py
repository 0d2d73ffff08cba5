"""JSON requests to one server: key in a header, TLS verified, no redirects, a rate limit, and retries with backoff."""

from __future__ import annotations

import json
import os
import queue
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Self, TypeVar
from urllib.parse import urlsplit

from l2s.config import ExperimentConfig
from l2s.errors import UserError, field_with_url
from l2s.generation.engines.endpoint_body import check_body
from l2s.secret_variables import ENDPOINT_KEY

T = TypeVar("T")
BUSY = (408, 409, 429)  # of the statuses below 500 those of a server that is busy for a moment
NEVER = (501, 505)  # of the others those that another try does not change; proxies have more than the standard's
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
CHAT = "/chat/completions"  # added to the URL
SAID = 300  # characters of a server's error message that our error quotes
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MOST_BYTES = 64 << 20  # of a reply; a longer one would only fill the memory


class Client:
    """The API of one server."""

    def __init__(self, url: str, key: str | None, *, timeout_s: float, tries: int, per_minute: int) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self.timeout_s, self.tries = timeout_s, tries
        self._pace = Pace(60 / per_minute if per_minute else 0.0)
        own_machine = urlsplit(url).hostname in LOOPBACK  # a proxy would get the key in the clear
        proxies = [urllib.request.ProxyHandler({})] if own_machine else []
        self._opener = urllib.request.build_opener(_NoRedirect(), *proxies)  # verifies TLS with the system's CAs

    @classmethod
    def of(cls, config: ExperimentConfig) -> Self:
        """The server that `config` names, with the key from the environment.

        Raises:
            UserError: the URL cannot be used, or the key would be sent unencrypted.
        """
        check_endpoint(config)
        return cls(
            config.teacher_endpoint,
            endpoint_key(),
            timeout_s=config.endpoint_timeout_s,
            tries=config.endpoint_tries,
            per_minute=config.endpoint_per_minute,
        )

    def post(self, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], T]) -> T:
        """Send `body` and return what `read` makes of the reply; retry while the server is busy or unavailable.

        Raises:
            UserError: the server refuses the request, no try gets a reply, or `read` raises it. `read` raises BusyError
                for a reply that another try may better.
        """
        for attempt in range(1, self.tries + 1):
            self._pace.wait()
            try:
                return read(self._send(path, body))
            except BusyError as busy:
                trouble = self._without_key(str(busy))
                if attempt < self.tries:
                    self._pace.hold(busy.retry_after_s or 0.0)
                    time.sleep(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.5))
        raise UserError(
            f"teacher_endpoint={self.url!r}: no answer in {self.tries} tries, the last: {trouble}; start the server or "
            "lower --endpoint_concurrency, then the same command resumes with the answers that are missing"
        )

    def _send(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The reply to `body`, within `timeout_s` for the whole exchange.

        It runs in a thread, because the timeout of a socket starts again at each byte: a server that drips its headers
        would never time out. The thread of a late exchange ends when the server hangs up or is silent.
        """
        answer: queue.SimpleQueue[dict[str, Any] | Exception] = queue.SimpleQueue()

        def work() -> None:
            try:
                answer.put(self._exchange(path, body))
            except Exception as error:
                answer.put(error)

        threading.Thread(target=work, daemon=True).start()
        try:
            result = answer.get(timeout=self.timeout_s)
        except queue.Empty:
            raise BusyError(f"no whole reply within {self.timeout_s:g} s") from None
        if isinstance(result, Exception):
            raise result
        return result

    def _exchange(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        if self._key:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        try:
            with self._opener.open(request, timeout=self.timeout_s) as response:
                reply = json.loads(_read(response, self.timeout_s))
        except urllib.error.HTTPError as error:
            said = self._without_key(_said(error, self.timeout_s))
            if error.code in BUSY or (error.code >= 500 and error.code not in NEVER):
                raise BusyError(f"status {error.code}", _seconds(error.headers.get("Retry-After"))) from None
            raise UserError(self._refused(error.code, error.headers.get("Location"), said)) from None
        except (OSError, HTTPException, ValueError, RecursionError) as error:  # refused, reset, timed out, no JSON
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                why = getattr(getattr(error, "reason", error), "verify_message", "unknown")
                raise UserError(
                    f"teacher_endpoint={self.url!r}: its TLS certificate cannot be verified ({why}); "
                    "give a server with a valid certificate, or name your own CA's file in SSL_CERT_FILE"
                ) from None
            raise BusyError(str(error) or type(error).__name__) from None
        if not isinstance(reply, dict):
            raise BusyError(f"a reply that is no JSON object: {json.dumps(reply)[:SAID]}")
        return reply

    def _refused(self, status: int, location: str | None, said: str) -> str:
        what = f"teacher_endpoint={self.url!r}: the server answers with status {status}"
        if 300 <= status < 400:
            return f"{what}, a redirect to {location!r}, which is not followed; give the URL that it leads to"
        if status in (401, 403):
            return f"{what}; set the environment variable {ENDPOINT_KEY} to a key that it accepts"
        hint = (
            '--endpoint_model names the model as the server knows it, and --endpoint_body \'{"chat_template_kwargs": '
            "null}' leaves out a field that only some servers know"
        )
        if not 400 <= status < 500:
            hint = "give the URL of a server that speaks OpenAI's chat completions API"
        return f"{what} and says {said[:SAID]!r}; {hint}"

    def _without_key(self, text: str) -> str:
        text = " ".join(text.split())
        return text.replace(self._key, "***") if self._key else text


class Pace:
    """Starts requests of all threads at least `interval_s` apart, and none while a hold lasts."""

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self._next = time.monotonic()
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next request may start."""
        with self._lock:
            begin = max(self._next, time.monotonic())
            self._next = begin + self.interval_s
        time.sleep(max(0.0, begin - time.monotonic()))

    def hold(self, seconds: float) -> None:
        """Start no request for `seconds`, because the server asked for a pause."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + min(seconds, LONGEST_WAIT_S))


class BusyError(Exception):
    """The server may answer a later try, after `retry_after_s` if it says so."""

    def __init__(self, what: str, retry_after_s: float | None = None) -> None:
        super().__init__(what)
        self.retry_after_s = retry_after_s


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Treats a redirect as an error status, so prompts and key never reach another host."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Follow no redirect."""
        return


def _read(response: Any, seconds: float) -> bytes:
    """The body of a reply, which may take `seconds` in all: one that comes in drops would never time out.

    Raises:
        ValueError: it is longer than MOST_BYTES.
        OSError, HTTPException: it does not come, or not in time.
    """
    end, content = time.monotonic() + seconds, bytearray()
    while part := response.read1(1 << 16):
        content += part
        if len(content) > MOST_BYTES:
            raise ValueError(f"a reply of more than {MOST_BYTES} bytes")
        if time.monotonic() > end:
            raise TimeoutError(f"no whole reply within {seconds:g} s")
    return bytes(content)


def _said(error: urllib.error.HTTPError, seconds: float) -> str:
    """What the server says about its refusal; nothing where that does not arrive."""
    try:
        return _read(error, seconds).decode(errors="replace")
    except (OSError, HTTPException, ValueError):
        return ""


def endpoint_key() -> str | None:
    """The key from the environment, without the newline that a file with it may have ended in.

    Raises:
        UserError: it cannot be sent; does not show it.
    """
    key = os.environ.get(ENDPOINT_KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"{ENDPOINT_KEY}: holds a character that no header can (not shown); set it to the key alone")
    return key or None


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds, which the server may give as a date; None where it gives neither."""
    if not retry_after:
        return None
    try:
        return float(retry_after)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def check_endpoint(config: ExperimentConfig) -> None:
    """Check the endpoint's settings without a request to the server.

    Raises:
        UserError: the URL is invalid, contains a secret or would send the key unencrypted; or endpoint_body cannot be
            sent.
    """
    url = config.teacher_endpoint
    field = field_with_url("teacher_endpoint", url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    plain_url = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not host or not host.strip(".-") or port == 0 or not plain_url:
        raise UserError(f"{field}: give the URL of an OpenAI-compatible API, such as http://HOST:8000/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UserError(
            "teacher_endpoint: a URL is kept in files, so it must hold no user name, password or query; put a key "
            f"into the environment variable {ENDPOINT_KEY}"
        )
    if parts.path.rstrip("/").endswith(CHAT):
        raise UserError(f"{field}: give the part before {CHAT}, such as http://HOST:8000/v1; l2s adds the rest")
    key = endpoint_key()
    if parts.scheme == "http" and host not in LOOPBACK and key:
        raise UserError(
            f"teacher_endpoint={url!r}: the key in {ENDPOINT_KEY} would travel unencrypted; use https, or unset it"
        )
    if config.endpoint_model and not config.endpoint_model.strip():
        raise UserError(
            f"endpoint_model={config.endpoint_model!r}: is blank; give the name by which the server knows the teacher, "
            "or leave it out"
        )
    check_body(config)
