"""One POST to a webhook: to https, or to http on this machine; no redirects, a deadline for the whole of it, no word of the address in errors."""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Posted:
    """What became of it.

    Attributes
    ----------
    status : int
        Of the answer; 0 where there was none.
    problem : str
        Empty when it arrived.
    wait_s : float
        What the receiver asks to wait; 0 where it does not say.
    """

    status: int
    problem: str = ""
    wait_s: float = 0.0

    @property
    def reached(self) -> bool:
        """Whether the receiver answered at all."""
        return self.status > 0

    @property
    def refused(self) -> bool:
        """Whether it would answer the same again."""
        return 300 <= self.status < 500 and self.status not in _LATER


def address(setting: str | None) -> SplitResult | str:
    """The webhook of a setting ``env:NAME``; text where it cannot be used, and why."""
    name = (setting or "").removeprefix("env:")
    url = os.environ.get(name, "").strip() if name else ""
    if not url:
        return f"the environment has no {name}" if name else "no webhook is set"
    try:
        found = urlsplit(url)
        host, port = found.hostname or "", found.port
    except ValueError:
        return f"{name} holds no address"
    del port
    if found.username or found.password or any(ord(c) < 33 or ord(c) > 126 for c in url):
        return f"{name} holds no plain address"
    if found.scheme == "https" and host:
        return found
    if found.scheme == "http" and _loopback(host):
        return found
    return f"{name} is neither https nor http on this machine"


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def post(to: SplitResult, body: Mapping[str, Any], *, key: str, timeout_s: float) -> Posted:
    """Send JSON; never raises for what the network does.

    Parameters
    ----------
    key : str
        Goes along as ``Idempotency-Key``: a receiver that saw it before may drop the message.
    """
    if to.scheme == "https":
        tls = ssl.create_default_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(to.hostname or "", to.port, timeout=timeout_s, context=tls)
    else:
        connection = http.client.HTTPConnection(to.hostname or "", to.port, timeout=timeout_s)
    deadline = threading.Timer(timeout_s, _cut, (connection,))
    deadline.daemon = True
    deadline.start()
    try:
        data = json.dumps(body, ensure_ascii=True, allow_nan=False).encode()
        path = (to.path or "/") + (f"?{to.query}" if to.query else "")
        headers = {"Content-Type": "application/json", "Idempotency-Key": key, "User-Agent": "diagnosis", "Connection": "close"}
        connection.request("POST", path, data, headers)
        answer = connection.getresponse()
        return _posted(answer.status, answer.headers.get("Retry-After"))
    except (
        OSError,
        http.client.HTTPException,
        AttributeError,
        ValueError,
    ) as error:  # a socket that is cut under the client is any of them
        return Posted(0, f"no answer ({type(error).__name__})")
    finally:
        deadline.cancel()
        connection.close()


def _cut(connection: http.client.HTTPConnection) -> None:
    """End a connection that takes too long, however slowly it goes on."""
    sock = connection.sock
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(2)


def _posted(status: int, retry_after: str | None) -> Posted:
    if 200 <= status < 300:
        return Posted(status)
    wait = float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else 0.0
    problem = "redirects are not followed" if 300 <= status < 400 else f"answered {status}"
    return Posted(status, problem, min(wait, 86400.0))
