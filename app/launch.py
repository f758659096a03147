"""Start the workbench: ``python -m app.launch``. Workspaces come from ``DIAGNOSIS_WORKSPACES``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from app import theme
from diagnosis.errors import DiagnosisError

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
LOCAL = ("127.0.0.1", "localhost", "::1")
Send = Callable[[dict[str, Any]], Awaitable[None]]


class SecureHeaders:
    """Adds security headers to whatever the workbench answers; shared pages bring stricter ones of their own."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Send) -> None:
        """One request."""

        async def guarded(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                have = {name.lower() for name, _ in message["headers"]}
                extra = {
                    b"content-security-policy": POLICY.encode(),
                    b"x-content-type-options": b"nosniff",
                    b"referrer-policy": b"same-origin",
                    b"x-frame-options": b"DENY",
                }
                message = {**message, "headers": [*message["headers"], *((k, v) for k, v in extra.items() if k not in have)]}
            await send(message)

        await self.app(scope, receive, guarded if scope["type"] == "http" else send)


def report(error: Exception) -> bool:
    """Show an unexpected error without its traceback, which goes to the server's log."""
    import streamlit as st

    logging.getLogger("diagnosis").exception("a screen failed", exc_info=error)
    st.error("This screen failed. The server's log has the details; nothing was lost.", icon=":material/error:")
    return True


def main() -> None:
    """Parse the arguments and run until stopped."""
    import streamlit as st
    from streamlit.logger import set_log_level

    set_log_level("ERROR")  # caches are declared before the server runs, which Streamlit would warn of
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from app.load import check_workspaces, workspace_paths
    from diagnosis.cases.server import share_routes

    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--headless", action="store_true")
    given = parser.parse_args()
    try:
        check_workspaces()
    except DiagnosisError as error:
        print(f"diagnosis: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    middleware = [Middleware(SecureHeaders)]
    if given.host in LOCAL:
        middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"]))
    workbench = st.App(
        Path(__file__).with_name("main.py"), routes=share_routes(workspace_paths()), middleware=middleware, on_script_error=report
    )
    workbench.run(
        config={
            "server.address": given.host,
            "server.port": given.port,
            "server.headless": given.headless,
            "server.fileWatcherType": "none",
            "browser.gatherUsageStats": False,
            "client.showErrorDetails": "none",
            "client.toolbarMode": "minimal",
            **theme.OPTIONS,
        }
    )


if __name__ == "__main__":
    main()
