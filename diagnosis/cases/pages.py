"""A view frozen as plain HTML with its charts inside: no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from diagnosis.cases.casebook import Case
from diagnosis.cases.evidence import Evidence
from diagnosis.cases.verdict import verdict_on
from diagnosis.inputs import Checks
from diagnosis.log.records import Request
from diagnosis.reproduce import Replay
from diagnosis.reproduce.circumstances import attributes_of

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("diagnosis.cases"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
HIDDEN = "(member hidden)"


@dataclass(frozen=True, eq=False)
class Section:
    """A part of a page: text, a table, a chart (a Vega-Lite specification with its data), in this order."""

    heading: str
    text: str = ""
    table: pd.DataFrame | None = None
    chart: dict[str, Any] | None = None
    alt: str = ""


@dataclass(frozen=True, eq=False)
class Page:
    """What is frozen.

    Attributes
    ----------
    sentence : str
        What is known, in one sentence.
    tone : str
        ``good``, ``bad`` or ``unknown``: the colour of the banner.
    facts : tuple of (str, str)
        What the page is about and what it stands on.
    """

    title: str
    sentence: str
    tone: str
    sections: tuple[Section, ...]
    facts: tuple[tuple[str, str], ...]
    members: tuple[str, ...] = ()

    def hiding_members(self) -> Page:
        """The same page without any member key in any text or table."""
        known = sorted({m for m in self.members if m}, key=len, reverse=True)
        if not known:
            return self
        pattern = re.compile("|".join(re.escape(m) for m in known))

        def hidden(text: str) -> str:
            return pattern.sub(HIDDEN, text)

        def clean(frame: pd.DataFrame | None) -> pd.DataFrame | None:
            if frame is None:
                return None
            shown = frame.drop(columns=[c for c in frame.columns if c == "member"])
            return shown.map(lambda v: hidden(v) if isinstance(v, str) else v).rename(
                index=lambda v: hidden(v) if isinstance(v, str) else v
            )

        sections = tuple(
            replace(
                s, heading=hidden(s.heading), text=hidden(s.text), table=clean(s.table), alt=hidden(s.alt), chart=_walk(s.chart, hidden)
            )
            for s in self.sections
        )
        facts = tuple((hidden(k), hidden(v)) for k, v in self.facts if k != "member")
        return replace(self, title=hidden(self.title), sentence=hidden(self.sentence), sections=sections, facts=facts, members=())


def render(page: Page, *, with_members: bool = False, frozen_at: datetime | None = None) -> str:
    """The page as one HTML document.

    Parameters
    ----------
    with_members : bool
        Whether member keys may stand in it.
    """
    page = page if with_members else page.hiding_members()
    at = frozen_at or datetime.now(UTC)
    return _ENVIRONMENT.get_template("page.html").render(page=page, at=at.strftime("%Y-%m-%d %H:%M UTC"), cells=_cells, image=_image)


def request_page(
    request: Request,
    replay: Replay,
    checks: Checks,
    evidence: Evidence,
    *,
    workspace: str,
    charts: Sequence[Section] = (),
) -> Page:
    """A request's diagnosis as a page."""
    failed = checks.failed
    sections = [Section("Inputs", checks.sentence, _named(failed) if len(failed) else None), *charts]
    shown = replay.rows.dropna(subset=["logged_position"]).sort_values("logged_position")
    columns = ["logged_position", "replayed_position", "logged", "replayed", "logged_rank", "replayed_rank"]
    names = ["position", "replayed position", "score", "replayed score", "rank", "replayed rank"]
    sections.append(Section("The page as it was shown", table=shown[columns].set_axis(names, axis=1).reset_index(names="item")))
    sections.append(Section("Circumstances", table=attributes_of(request)[["attribute", "value"]]))
    facts = (
        ("workspace", workspace),
        ("request", request.request_id),
        ("served at", _time(request.row["served_at"])),
        ("task", request.task),
        ("model", f"{replay.model or '–'} {replay.model_version or ''}".strip()),
        ("ruleset", str(request.row.get("ruleset_version") or "–")),
        ("digest of the rows", evidence.rows[:16]),
        ("digest of the model", (evidence.model or "–")[:16]),
        ("table versions", ", ".join(f"{name} {version}" for name, version in evidence.tables.items())),
    )
    known = verdict_on(replay, checks)
    member = request.row.get("member")
    title = f"Request {request.request_id}"
    return Page(title, known.sentence, known.tone, tuple(sections), facts, (str(member),) if member else ())


def case_page(case: Case, *, workspace: str, states: dict[str, str] | None = None, members: Sequence[str] = ()) -> Page:
    """A case as a page; `states` says of each entry with evidence whether it has moved."""
    states = states or {}
    rows = [(_time(e.created_at), e.actor, e.kind, e.text + (f" [{states[e.id]}]" if e.id in states else "")) for e in case.entries]
    table = pd.DataFrame(rows, columns=["at", "who", "kind", "text"])
    facts = (("workspace", workspace), ("case", case.id), ("status", case.status), ("opened", f"{_time(case.created_at)} by {case.actor}"))
    return Page(case.title, case.verdict or "No verdict yet.", "unknown", (Section("What was found", table=table),), facts, tuple(members))


def case_markdown(case: Case, *, workspace: str) -> str:
    """A case as Markdown; text from the log is quoted as code."""
    lines = [f"# {_plain(case.title)}", "", f"- workspace: {_code(workspace)}", f"- case: {_code(case.id)}", f"- status: {case.status}"]
    lines += [
        f"- opened: {_time(case.created_at)} by {_code(case.actor)}",
        "",
        "## Verdict",
        "",
        _plain(case.verdict or "No verdict yet."),
        "",
    ]
    lines += ["## What was found", ""]
    for entry in case.entries:
        lines += [f"- {_time(entry.created_at)}, {_code(entry.actor)}, {entry.kind}: {_plain(entry.text)}"]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    words = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", words)


def _code(text: str) -> str:
    return "`" + " ".join(text.split()).replace("`", "'") + "`"


def _named(failed: pd.DataFrame) -> pd.DataFrame:
    shown = failed[["feature", "check", "failed", "of", "observed", "expected", "unit", "owner", "root"]]
    return shown.rename(columns={"of": "of how many", "root": "goes back to"})


def _time(at: datetime | None) -> str:
    """A time; one that a foreign log lacks is said to be missing."""
    if at is None:
        return "not logged"
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _cells(table: pd.DataFrame) -> list[list[tuple[str, bool]]]:
    """Rows of (text, is a number)."""
    return [[_cell(value) for value in row] for row in table.itertuples(index=False)]


def _cell(value: Any) -> tuple[str, bool]:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return "–", False
    if isinstance(value, (bool, np.bool_)):
        return ("yes" if value else "no"), False
    if isinstance(value, (int, np.integer)):
        return str(int(value)), True
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.5g}", True
    return str(value), False


def _image(section: Section) -> str:
    """The chart as a picture: an SVG in a data URL is drawn without running anything in it."""
    import vl_convert

    svg = vl_convert.vegalite_to_svg(section.chart or {}, allowed_base_urls=[])
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _walk(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(k) if isinstance(k, str) else k: _walk(v, change) for k, v in value.items() if k != "member"}
    return [_walk(v, change) for v in value] if isinstance(value, list) else value
