"""What detection found: one incident a cause, kept in the state database until it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from diagnosis.errors import NotFoundError
from diagnosis.localize.windows import Window, iso
from diagnosis.store import documents
from diagnosis.store.state import State
from diagnosis.store.state import incidents as TABLE

OPEN, OVER, DISMISSED = "open", "over", "dismissed"
STATUSES = (OPEN, OVER, DISMISSED)
FEATURE_WORDS = {"missing": "missing values of {}", "mean": "mean of {}", "outside": "values of {} outside their contract"}
KINDS = ("metric", "objective", "input", "dependency", "watch")


@dataclass(frozen=True)
class Incident:
    """Something is wrong: where, since when, how sure.

    Attributes
    ----------
    key : str
        Names it in its workspace, the same on every run that finds it again.
    kind : str
        ``metric`` (a series left its baseline), ``objective`` (an error budget burns), ``input`` (a feature), ``dependency`` (something
        changed upstream) or ``watch`` (a check that somebody added).
    symptom : str
        ``inputs``, ``outputs``, ``outcomes`` or ``serving``: the row of the triage matrix.
    metric : str
        A metric of the localizer, a feature, an indicator or an upstream.
    where : str
        The slice, in the grammar of ``--where``; empty for everything.
    since : datetime
        Onset, as estimated. `detected_at`: when a run found it; `seen_at`: the end of the latest data that shows it.
    value, expected, low, high : float
        What was measured since the onset, what the baseline made expected, and the 95% interval of that; NaN where it does not apply.
    z : float
        Signed, standard errors of `value` from `expected`.
    false_discovery : float
        Its q-value in the family of series that was searched; NaN outside of families.
    series : tuple of str
        Every series that alarmed and shares its cause, the strongest first.
    cause : mapping or None
        The first cause of `localize --json`, once it was localized; `verdict` is the localizer's, empty before.
    part_of : str
        Key of the incident that it shares its cause with, and that stands for both; empty for one that stands for itself.
    baseline : Window or None
        What to compare with, where the localizer can be asked.
    asked_metric, asked_where : str
        What the localizer was asked about: another series of the incident where its own does not tell the cause (empty: its own), and the
        slice; everything, where that moved enough to tell it.
    owner : str
        Who owns what it is about, where contracts, upstreams or environments say so.
    upstreams : tuple of str
        Where the features come from that alarmed.
    narrowed : bool
        Whether the log tells where it is; False where it is too thin for that, and `where` may be too wide.
    accepted : bool
        Whether its level is taken as usual from `since` on; `ended_at` is when its series went back again, None while they have not.
    """

    key: str
    kind: str
    symptom: str
    metric: str
    where: str
    since: datetime
    detected_at: datetime
    seen_at: datetime
    sentence: str
    status: str = OPEN
    task: str = ""
    phase: str = "production"
    unit: str = ""
    value: float = float("nan")
    expected: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    z: float = float("nan")
    false_discovery: float = float("nan")
    series: tuple[str, ...] = ()
    verdict: str = ""
    cause: Mapping[str, Any] | None = None
    baseline: Window | None = None
    evidence: tuple[str, ...] = field(default=())
    part_of: str = ""
    asked_metric: str = ""
    asked_where: str = ""
    owner: str = ""
    upstreams: tuple[str, ...] = ()
    narrowed: bool = True
    accepted: bool = False
    ended_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.status not in STATUSES:
            raise ValueError(f"no incident is of kind {self.kind!r} and status {self.status!r}")

    @property
    def title(self) -> str:
        """What and where, for a heading."""
        what = self.metric
        for kind, text in FEATURE_WORDS.items():
            if self.symptom == "inputs" and what.startswith(f"{kind}:"):
                what = text.format(what.partition(":")[2])
        return f"{what} of {self.where}" if self.where else what

    @property
    def place(self) -> str:
        """Where it is, for a fact or a column."""
        return self.where or ("everywhere" if self.narrowed else "not told: too few requests")

    @property
    def asked(self) -> tuple[str, str]:
        """Metric and slice that the localizer was asked about, or is to be."""
        return self.asked_metric or self.metric, self.asked_where if self.verdict else self.where

    @property
    def window(self) -> Window | None:
        """From the onset to the end of the data that shows it; None while that is one moment."""
        return Window(self.since, self.seen_at) if self.since < self.seen_at else None

    def as_json(self) -> dict[str, Any]:
        """Every attribute by name, times as text, NaN as null: what is kept, and what `detect --json` shows."""
        out: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if isinstance(value, datetime):
                out[name] = iso(value)
            elif isinstance(value, float):
                out[name] = value if value == value and abs(value) != float("inf") else None
            else:
                out[name] = list(value) if isinstance(value, tuple) else value
        out["baseline"] = {"since": iso(self.baseline.since), "until": iso(self.baseline.until)} if self.baseline else None
        return out

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Incident:
        """An incident as `as_json` wrote it; keys of later versions are left out."""
        known = {f.name: kept[f.name] for f in fields(cls) if f.name in kept}
        for name in ("since", "detected_at", "seen_at"):
            known[name] = datetime.fromisoformat(known[name])
        known["ended_at"] = datetime.fromisoformat(known["ended_at"]) if known.get("ended_at") else None
        for name in ("value", "expected", "low", "high", "z", "false_discovery"):
            known[name] = float("nan") if known.get(name) is None else float(known[name])
        for name in ("series", "evidence", "upstreams"):
            known[name] = tuple(known.get(name) or ())
        window = known.get("baseline")
        known["baseline"] = Window(*(datetime.fromisoformat(window[k]) for k in ("since", "until"))) if window else None
        return cls(**known)


def keep(state: State, workspace: str, incident: Incident, *, actor: str | None = None) -> bool:
    """Write an incident; True if it is new."""
    return documents.put(state, TABLE, workspace, incident.key, incident.as_json(), status=incident.status, actor=actor)


def keep_seen(state: State, workspace: str, seen: Incident) -> bool:
    """Write what a run saw of an incident; what somebody decided while it ran stays. True if it is new."""
    document = documents.get(state, TABLE, workspace, seen.key)
    kept = Incident.from_json(document.payload) if document is not None else seen
    if kept.detected_at == seen.detected_at and (kept.status == DISMISSED) != (seen.status == DISMISSED):
        seen = replace(seen, status=kept.status, accepted=kept.accepted, ended_at=kept.ended_at)
    return keep(state, workspace, seen)


def incidents(state: State, workspace: str, *, status: str | None = None) -> list[Incident]:
    """Incidents of a workspace, the one written last first; of one status, or all."""
    return [Incident.from_json(d.payload) for d in documents.listed(state, TABLE, workspace, status=status)]


def incident(state: State, workspace: str, key: str) -> Incident:
    """The incident of a key.

    Raises
    ------
    NotFoundError
        If there is none in that workspace.
    """
    found = documents.get(state, TABLE, workspace, key)
    if found is None:
        raise NotFoundError("incident", key, [d.key for d in documents.listed(state, TABLE, workspace)])
    return Incident.from_json(found.payload)


def decide(state: State, workspace: str, key: str, status: str, *, actor: str | None = None) -> Incident:
    """Dismiss an incident, or open it again; what is dismissed stays so when it is found again.

    What is dismissed while it lasts is accepted: it is the new normal.

    Raises
    ------
    NotFoundError
        If there is none of that key.
    ValueError
        If there is no such status.
    """
    before = incident(state, workspace, key)
    accepted = before.accepted if status == before.status else before.status == OPEN and status == DISMISSED
    changed = replace(before, status=status, accepted=accepted, ended_at=before.ended_at if accepted else None)
    keep(state, workspace, changed, actor=actor)
    return changed
