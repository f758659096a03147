"""The serving side of hotfixes: fetches the document, verifies it, and says for each request what to do otherwise.

Needs the standard library and ``cryptography``; this file and `diagnosis.resolve.seal` may be copied into a service as they are. What is
wrong with a document is said and changes nothing: the last good one stays until it expires, and then there is none.
"""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tomllib import loads
from typing import Any

from diagnosis.resolve.seal import LIMIT, Refused, drawn, fits, holds, opened

FIRST = 1000  # requests for which the cap on touched requests is taken as a whole
_SAFE = ("file:", "https:", "http://127.0.0.1:", "http://localhost:", "http://[::1]:")


class HotfixClient:
    """Keeps the current hotfix of a serving process; no method but the constructor raises.

    Parameters
    ----------
    source : str or callable
        A file, an ``https`` or loopback address, or a function that gives the document's bytes.
    trusted : path
        The file of trusted keys and the threshold; out of reach of whoever publishes.
    memory : path, optional
        A folder that outlives the process. Without it, one that starts anew takes an older document that has not expired yet.
    clock : callable
        Gives the time, with its zone. A clock that is set back does not bring back what has expired.

    Attributes
    ----------
    said : str
        What became of the last document, or of the last request that could not be helped; also logged to ``diagnosis.hotfix``.
    """

    def __init__(
        self,
        source: str | Callable[[], bytes],
        trusted: str | Path,
        workspace: str,
        environment: str,
        memory: str | Path | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        trust, self.memory, self.clock, self.here = loads(Path(trusted).read_text("utf-8")), memory, clock, (workspace, environment)
        self.keys, self.threshold = frozenset(key.lower() for key in trust["keys"].values()), int(trust["threshold"])
        self.fetch = source if callable(source) else lambda: _fetched(source if "://" in source else Path(source).resolve().as_uri())
        self.serial = max((int(f.name) for f in Path(memory).glob("[0-9]*")), default=0) if memory else 0
        self.hotfix: dict[str, Any] | None = None
        self.now, self.asked, self.touched, self.said = clock(), 0, 0, "nothing was fetched yet"

    def refresh(self) -> str:
        """Fetch and verify, from time to time and beside the requests; says what became of it."""
        self.now = max(self.now, self.clock())
        try:
            fix = fits(opened(self.fetch(), self.keys, self.threshold), *self.here, self.now)
            if fix["serial"] < self.serial or (fix["serial"] == self.serial and self.hotfix not in (None, fix)):
                raise Refused(f"serial {fix['serial']} is not newer than {self.serial}")
            if fix != self.hotfix:
                if self.memory:
                    (Path(self.memory) / str(fix["serial"])).touch()
                self.hotfix, self.serial, self.asked, self.touched = fix, fix["serial"], 0, 0
            return self._say(logging.INFO, f"serial {fix['serial']}: {len(fix['actions'])} actions until {fix['expires_at']}")
        except Exception as error:
            return self._say(logging.WARNING, f"ignored: {error}")

    def apply(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What to do otherwise for this request: actions as they stand in the document; none once it has expired.

        Parameters
        ----------
        request : mapping
            ``request_id`` and the attributes that slices are made of, as they are logged (the key of a map as ``experiments.layout``).
        """
        fix, self.now = self.hotfix, max(self.now, self.clock())
        if fix is None or self.now >= datetime.fromisoformat(fix["expires_at"]):
            return []
        self.asked += 1
        does = [a for a in fix["actions"] if drawn(request.get("request_id"), a["kind"]) < a["share"] and holds(a["where"], request)]
        if does and self.touched >= fix["max_share"] * max(self.asked, FIRST):
            does, self.said = [], f"not applied: the cap of {fix['max_share']:.0%} of the requests is reached"
        self.touched += bool(does)
        return does

    def _say(self, level: int, text: str) -> str:
        if text != self.said:
            logging.getLogger("diagnosis.hotfix").log(level, text)
        self.said = text
        return text


def _fetched(source: str) -> bytes:
    if not source.startswith(_SAFE) or "@" in source:  # what stands before an @ is no host
        raise Refused(f"{source} is neither https nor on this machine")
    with urllib.request.urlopen(source, timeout=5) as answer:  # noqa: S310  # its scheme was looked at
        return bytes(answer.read(LIMIT + 1))
