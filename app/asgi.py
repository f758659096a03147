"""The workbench as an ASGI application: Streamlit's pages and, beside them, the shared pages at ``/s/…``."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from app.views import FOCUS

LOCAL = ("127.0.0.1", "localhost", "::1")
Send = Callable[[dict[str, Any]], Awaitable[None]]


def workspace_paths() -> list[Path]:
    """Folders that are served: ``DIAGNOSIS_WORKSPACES``, separated as in ``PATH``."""
    return [Path(p) for p in os.environ.get("DIAGNOSIS_WORKSPACES", "").split(os.pathsep) if p]


def check(workspaces: Sequence[Path]) -> None:
    """Refuse to start on what is no workspace, or on two with one id.

    Raises
    ------
    WorkspaceError, SettingsError
    """
    from diagnosis.errors import WorkspaceError
    from diagnosis.store.settings import read_settings

    ids = [read_settings(path).id for path in workspaces]
    twice = sorted({key for key in ids if ids.count(key) > 1})
    if twice:
        raise WorkspaceError(
            f"Two of these workspaces have the id {twice[0]!r}, so links could not tell them apart.", "change id in one diagnosis.toml."
        )


def policy() -> str:
    """The content security policy.

    Scripts run from our own origin only, and inline only those whose digest stands here: Streamlit's own and the one that moves the
    focus. ``unsafe-eval`` is how Vega draws; it evaluates specifications that this application wrote, never text from a log.
    """
    import streamlit

    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    inline = [*re.findall(r"<script>(.*?)</script>", page, re.DOTALL), FOCUS]
    digests = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in inline)
    return (
        f"default-src 'self'; script-src 'self' 'unsafe-eval' {digests}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-src 'none'; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )


class SecureHeaders:
    """Adds security headers to whatever is answered; shared pages bring stricter ones of their own."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.headers = {
            b"content-security-policy": policy().encode(),
            b"x-content-type-options": b"nosniff",
            b"referrer-policy": b"same-origin",
            b"x-frame-options": b"DENY",
            b"cross-origin-opener-policy": b"same-origin",
        }

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Send) -> None:
        """One request."""

        async def guarded(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                have = {name.lower() for name, _ in message["headers"]}
                message = {**message, "headers": [*message["headers"], *((k, v) for k, v in self.headers.items() if k not in have)]}
            await send(message)

        await self.app(scope, receive, guarded if scope["type"] == "http" else send)


def report(error: Exception) -> bool:
    """Show an error that no screen caught, without its traceback."""
    from app import views

    views.failure(error)
    return True


def workbench(workspaces: Sequence[Path], host: str = "127.0.0.1") -> Any:
    """The application. Bound to this machine, it answers to this machine's names only, so no foreign page can reach it by rebinding."""
    import streamlit as st
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from diagnosis.cases.server import share_routes

    logging.getLogger("diagnosis").setLevel(logging.INFO)
    middleware = [Middleware(SecureHeaders)]
    if host in LOCAL:
        middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"]))
    script = Path(__file__).with_name("main.py").resolve()
    return st.App(script, routes=share_routes(workspaces), middleware=middleware, on_script_error=report)
