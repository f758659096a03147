"""The shared pages at a port of their own: ``python -m diagnosis.cases.serving``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from diagnosis.cases.server import shares_app


def main() -> None:
    """Serve the shares of the workspaces in ``DIAGNOSIS_WORKSPACES``."""
    import uvicorn

    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    workspaces = [Path(p) for p in os.environ.get("DIAGNOSIS_WORKSPACES", "").split(os.pathsep) if p]
    uvicorn.run(shares_app(workspaces), host=given.host, port=given.port, log_level="warning", server_header=False)


if __name__ == "__main__":
    main()
