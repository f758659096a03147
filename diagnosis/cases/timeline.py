"""What happened in a case, in order: changes, onset, detection, hypotheses, who did what, fixes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from diagnosis.cases.casebook import Case
from diagnosis.cases.hypotheses import ACCEPTED, HYPOTHESIS, Hypothesis, hypotheses
from diagnosis.detect.incidents import Incident, incidents
from diagnosis.localize.windows import Window, parse_window
from diagnosis.reproduce import Workbench
from diagnosis.resolve import ledger

_NEAR = timedelta(days=1)
_SAME = timedelta(days=1)  # between the onset of a cause and that of an incident that is traced to it
_CHANGES = 40
_TOLD = {
    "sign hotfix": "gained a signature",
    "publish hotfix": "published",
    "undo hotfix": "undone",
    "replace hotfix": "replaced by a later one",
    "back in force": "back in force",
}
_ACTS = 5_000  # lines of the audit that are looked through
Line = tuple[datetime, str, str, str]  # at, what, who, text


@dataclass(frozen=True, eq=False)
class Story:
    """A case with everything that belongs to it.

    Attributes
    ----------
    metric : str
        What moved; empty where the case does not say.
    window : Window or None
        The incident window that was looked at.
    found : tuple of Incident
        Incidents that detection found and that are of this case: named in it, or of its metric at its time.
    fixes : tuple of Record
        Hotfixes of this case.
    changes : pandas.DataFrame
        What somebody did around the onset, as `Snapshot.changes` gives it.
    acts : tuple of mapping
        Lines of the audit about its hotfixes, oldest first.
    """

    case: Case
    metric: str
    window: Window | None
    hypotheses: tuple[Hypothesis, ...]
    found: tuple[Incident, ...]
    fixes: tuple[ledger.Record, ...]
    changes: pd.DataFrame
    acts: tuple[Mapping[str, Any], ...] = ()

    @property
    def cause(self) -> Hypothesis | None:
        """The hypothesis that was accepted first."""
        return next((h for h in self.hypotheses if h.state == ACCEPTED), None)

    @property
    def onset(self) -> datetime | None:
        """When it began: as the cause says, else as detection estimated, else the beginning of the window."""
        told = [datetime.fromisoformat(h.since).astimezone(UTC) for h in self.hypotheses if h.state == ACCEPTED and h.since]
        told = told or [i.since for i in self.found]
        return min(told) if told else self.window.since if self.window else None

    @property
    def detected_at(self) -> datetime | None:
        """When detection found it; None if it did not."""
        return min((i.detected_at for i in self.found), default=None)

    @property
    def diagnosed_at(self) -> datetime | None:
        """When a hypothesis was first accepted."""
        said = (e.created_at for e in self.case.entries if e.kind == HYPOTHESIS and e.payload.get("state") == ACCEPTED)
        return min(said, default=None)

    @property
    def fixed_at(self) -> datetime | None:
        """When the first hotfix went out."""
        return min((f.published_at for f in self.fixes if f.published_at), default=None)

    def rows(self) -> pd.DataFrame:
        """The timeline.

        Returns
        -------
        pandas.DataFrame
            In order. Columns ``at`` (datetime, UTC), ``what`` (``change``, ``onset``, ``detected``, ``opened``, ``accepted``, ``rejected``,
            ``evidence``, ``note``, ``verdict``, ``action``, ``fix``), ``who``, ``text``.
        """
        rows: list[Line] = [*self._outside(), *self._entries(), *self._fixes()]
        rows.sort(key=lambda row: row[0])
        return pd.DataFrame(rows, columns=["at", "what", "who", "text"])

    def _outside(self) -> list[Line]:
        rows: list[Line] = []
        for row in self.changes.head(_CHANGES).to_dict("records"):
            words = [str(row.get(n) or "") for n in ("kind", "target", "note")]
            at = pd.Timestamp(row["changed_at"]).to_pydatetime()
            rows.append((at if at.tzinfo else at.replace(tzinfo=UTC), "change", "", " ".join(w for w in words if w)))
        if self.onset is not None:
            rows.append((self.onset, "onset", "", f"{self.metric or 'it'} begins to move"))
        rows += [(i.detected_at, "detected", "detection", i.sentence) for i in self.found]
        return rows

    def _entries(self) -> list[Line]:
        rows: list[Line] = [(self.case.created_at, "opened", self.case.actor, self.case.title)]
        for e in self.case.entries:
            what = str(e.payload.get("state", HYPOTHESIS)) if e.kind == HYPOTHESIS else e.kind
            name = f"{str(e.payload.get('component', '')).replace('_', ' ')} {e.payload.get('target') or ''}".strip()
            rows.append((e.created_at, what, e.actor, f"{name}: {e.text}" if e.kind == HYPOTHESIS and name else e.text))
        return rows

    def _fixes(self) -> list[Line]:
        rows: list[Line] = []
        for f in self.fixes:
            said = "; ".join(a.sentence for a in f.prepared.fix.actions) or "take everything back"
            rows.append((f.prepared.fix.created_at, "fix", f.actor, f"hotfix {f.serial} prepared: {said}"))
            for act in (a for a in self.acts if a["target"] == f"hotfix {f.serial}" and a["act"] in _TOLD):
                who = act["detail"].get("by") or act["detail"].get("signed_by")
                more = f", signed by {', '.join(map(str, who))}" if isinstance(who, list) and who else ""
                alone = ", in one-person mode" if act["detail"].get("one_person") else ""
                rows.append((act["created_at"], "fix", act["actor"], f"hotfix {f.serial} {_TOLD[act['act']]}{more}{alone}"))
        return rows


def story(workbench: Workbench, case: Case) -> Story:
    """Everything that belongs to a case."""
    metric, window = _asked(case)
    known = tuple(hypotheses(case))
    found = _found(incidents(workbench.state, workbench.workspace.id), case, metric, window, known)
    fixes = tuple(r for r in ledger.records(workbench.state, workbench.workspace.id) if r.prepared.fix.case == case.id)
    names = {f"hotfix {f.serial}" for f in fixes}
    audited = reversed(workbench.state.audited(workbench.workspace.id, _ACTS)) if names else ()
    acts = tuple(a for a in audited if a["target"] in names)
    made = Story(case, metric, window, known, found, fixes, pd.DataFrame(columns=["changed_at", "kind", "target", "note"]), acts)
    if made.onset is None or "changes" not in workbench.snapshot.tables():
        return made
    changes = workbench.snapshot.changes(made.onset - _NEAR, made.onset + _NEAR)
    return replace(made, changes=changes)


def _asked(case: Case) -> tuple[str, Window | None]:
    """Metric and incident window of the evidence about two windows that was added last."""
    for entry in reversed(case.entries):
        asked = entry.digests.get("question")
        if asked:
            return str(asked.get("metric", "")), parse_window(str(asked["incident"]))
    named = [str(e.payload["metric"]) for e in case.entries if e.payload.get("metric")]
    return (named[-1] if named else ""), None


def _found(known: Sequence[Incident], case: Case, metric: str, window: Window | None, told: Sequence[Hypothesis]) -> tuple[Incident, ...]:
    """The incidents that the case names; else those of its metric at the time, and those of its cause, whichever metric showed it."""
    named = {str(e.payload["incident"]) for e in case.entries if e.payload.get("incident")}
    if named:
        return tuple(i for i in known if i.key in named)
    mine = [i for i in known if any(_of_cause(i, h) for h in told if h.state == ACCEPTED and h.since)]
    if window is not None:
        mine += [i for i in known if i.metric == metric and i.since < window.until and window.since < max(i.seen_at, i.detected_at)]
    keys = {i.key for i in mine}
    return tuple(i for i in known if i.key in keys)


def _of_cause(incident: Incident, cause: Hypothesis) -> bool:
    """Whether detection traced an incident of that time to the same cause."""
    found = incident.cause or {}
    same = (str(found.get("component", "")), str(found.get("target", ""))) == (cause.component, cause.target)
    return same and abs(incident.since - datetime.fromisoformat(cause.since).astimezone(UTC)) <= _SAME
