"""The shared pages over HTTP: ``/s/<token>``, and nothing else."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute, Route

from diagnosis.cases.shares import ShareGone, open_share
from diagnosis.errors import DiagnosisError, NotFoundError, StateError
from diagnosis.store import Workspace

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
}
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:18vh auto;padding:0 1rem}}
h1{{font-size:1.4rem}}p{{opacity:.75}}</style></head><body><h1>{title}</h1><p>{text}</p></body></html>"""


def share_routes(workspaces: Sequence[Path]) -> list[BaseRoute]:
    """Routes that serve the shares of these workspaces."""

    async def shared(request: Request) -> HTMLResponse:
        status, body = await run_in_threadpool(_find, workspaces, request.path_params["token"], request.method == "GET")
        return HTMLResponse(body, status_code=status, headers=HEADERS)

    return [Route("/s/{token}", shared, methods=["GET", "HEAD"])]


def shares_app(workspaces: Sequence[Path]) -> Starlette:
    """An application that serves shares alone; every other path is 404."""

    async def nothing(request: Request, error: Exception) -> HTMLResponse:
        return HTMLResponse(
            _message("There is nothing here", "Only shared pages are served at this address."), status_code=404, headers=HEADERS
        )

    return Starlette(routes=share_routes(workspaces), exception_handlers={404: nothing, 405: nothing})


def _find(workspaces: Sequence[Path], token: str, count: bool) -> tuple[int, str]:
    for path in workspaces:
        try:
            return 200, open_share(Workspace.open(path).state(), token, count=count)
        except NotFoundError:
            continue
        except ShareGone as gone:
            return 410, _message(gone.message, "Ask whoever sent it for a new one.")
        except StateError:
            return 503, _message("This page cannot be opened right now", "The store of shared pages is busy; try again in a minute.")
        except DiagnosisError:
            continue
    return 404, _message("There is no shared page at this address", "The link may have been cut off when it was copied.")


def _message(title: str, text: str) -> str:
    return _PAGE.format(title=html.escape(title), text=html.escape(text))
