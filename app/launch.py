"""Start the workbench: ``python -m app.launch``. Workspaces come from ``DIAGNOSIS_WORKSPACES``."""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app import theme
from app.asgi import check, workbench, workspace_paths
from diagnosis.errors import DiagnosisError


def options(host: str, port: int) -> dict[str, Any]:
    """Everything that Streamlit is told; nothing depends on a configuration file. It always runs headless: `main` opens the browser."""
    return {
        "server.address": host,
        "server.port": port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": False,
        "server.maxUploadSize": 1,
        "browser.gatherUsageStats": False,
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.toolbarMode": "viewer",
        "client.disableDataExport": True,  # its CSV is not safe to open in a spreadsheet; ours is
        "logger.hideWelcomeMessage": True,  # it asks an outside service for our address
        **theme.OPTIONS,
    }


def warm(workspaces: Sequence[Path]) -> None:
    """Import what the first screens need and touch the workspaces, while the server and the browser start. Errors wait for the screens."""
    import altair  # noqa: F401  # imported for its time

    from app import screens  # noqa: F401
    from diagnosis.reproduce import Workbench

    for path in workspaces:
        with contextlib.suppress(DiagnosisError):
            Workbench.open(path).snapshot.health()
    import lightgbm  # noqa: F401  # three seconds that the first replay need not wait for


def announce(host: str, port: int, browse: bool) -> None:
    """Say where it runs once it answers, and open the browser there."""
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104  # a comparison, not a binding
    address = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    for _ in range(600):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):  # noqa: S310  # http, ours
            break
        time.sleep(0.05)
    else:
        return
    print(f"The workbench runs at {address}", file=sys.stderr, flush=True)
    if browse:
        webbrowser.open(address)


def main() -> None:
    """Parse the arguments and run until stopped."""
    parser = argparse.ArgumentParser(prog="python -m app.launch", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--headless", action="store_true", help="do not open a browser")
    given = parser.parse_args()
    workspaces = workspace_paths()
    try:
        check(workspaces)
    except DiagnosisError as error:
        print(f"diagnosis: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    threading.Thread(target=warm, args=(workspaces,), daemon=True).start()
    threading.Thread(target=announce, args=(given.host, given.port, not given.headless), daemon=True).start()
    workbench(workspaces, given.host).run(config=options(given.host, given.port))


if __name__ == "__main__":
    main()
