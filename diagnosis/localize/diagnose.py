"""The verdict on one complaint: what was wrong with this request, whom else it hit, and whether it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from diagnosis import estimate
from diagnosis.errors import CannotSayError, DiagnosisError
from diagnosis.estimate import Estimate
from diagnosis.inputs import check
from diagnosis.localize.case import Case, prepare
from diagnosis.localize.composition import Loan
from diagnosis.localize.effects import world_of
from diagnosis.localize.finding import find_suspects
from diagnosis.localize.result import CAUSE_FOUND, NO_CHANGE, NOT_ENOUGH_DATA, UNEXPLAINED, moment
from diagnosis.localize.sample import join, read
from diagnosis.localize.suspects import Evidence, Suspect, put_back
from diagnosis.localize.windows import Window, iso
from diagnosis.metrics import metric
from diagnosis.reproduce import Workbench

_BACK = timedelta(days=14)
_FEWEST = 30
_WENT_ON = 0.05  # of the time since the onset, at its end, in which something must have been seen to go on


@dataclass(frozen=True)
class Blast:
    """Whom a finding hit, estimated for the full traffic of the window that was looked at.

    Attributes
    ----------
    signature : str
        The finding in words that a log can be searched for.
    requests : Estimate
        Hit requests of the full traffic since the onset.
    members, items : int
        Different members and shown items among the logged hits: at least so many (distinct counts cannot be scaled up from a sample).
    ongoing : bool
        Whether it was still seen at the end of the log.
    """

    signature: str
    requests: Estimate
    members: int
    items: int
    since: datetime
    last_seen: datetime
    ongoing: bool


@dataclass(frozen=True)
class Finding:
    """One thing that was wrong with the request.

    Attributes
    ----------
    moved : int
        Places of the page that change when it is put back; 0 when nothing does.
    replayed : bool
        Whether that was replayed; otherwise `moved` says nothing.
    """

    component: str
    target: str
    where: Mapping[str, list[Any]]
    since: datetime
    moved: int
    replayed: bool
    owner: str
    evidence: tuple[Evidence, ...]
    blast: Blast

    def as_json(self) -> dict[str, Any]:
        """As `diagnose --json` shows it."""
        b = self.blast
        return {
            "component": self.component,
            "target": self.target,
            "slice": {k: list(v) for k, v in self.where.items()},
            "since": iso(self.since),
            "moved": self.moved,
            "replayed": self.replayed,
            "owner": self.owner or None,
            "evidence": [{"kind": e.kind, "text": e.text} for e in self.evidence],
            "blast_radius": {
                "signature": b.signature,
                "requests": b.requests.value,
                "low": b.requests.low,
                "high": b.requests.high,
                "members_at_least": b.members,
                "items_at_least": b.items,
                "since": iso(b.since),
                "last_seen": iso(b.last_seen),
                "ongoing": b.ongoing,
            },
        }


@dataclass(frozen=True)
class Diagnosis:
    """The verdict on one request.

    Attributes
    ----------
    verdict : str
        ``cause_found`` (something put back changes the page, or the page was not the model's), ``unexplained`` (it does not reproduce or
        its inputs fail, and like requests of the baseline do not say why), ``no_change`` (served as requests like it always were),
        ``not_enough_data``.
    replay : str
        Verdict of the plain replay.
    """

    request_id: str
    verdict: str
    reason: str
    replay: str
    inputs: str
    findings: tuple[Finding, ...]
    baseline: Window | None
    compared: int

    def as_json(self) -> dict[str, Any]:
        """The document of ``diagnosis diagnose --json``."""
        return {
            "request_id": self.request_id,
            "verdict": self.verdict,
            "reason": self.reason,
            "replay": self.replay,
            "inputs": self.inputs,
            "causes": [f.as_json() for f in self.findings],
            "baseline": {"since": iso(self.baseline.since), "until": iso(self.baseline.until)} if self.baseline else None,
            "compared": self.compared,
        }


def diagnose(workbench: Workbench, request_id: str, *, most: int = 4000) -> Diagnosis:
    """What was wrong with one request, against like requests of the days before.

    Parameters
    ----------
    most : int
        Requests of the days before, and of the days around it, that it is compared with.

    Raises
    ------
    NotFoundError
        If there is no such request.
    """
    request = workbench.request(request_id)
    replayed = workbench.replay(request)
    try:
        checks = check(workbench, request)
        inputs, failed = checks.sentence, bool(len(checks.failed))
    except DiagnosisError as error:
        inputs, failed = error.message, False
    windows = _windows(workbench, request.row["served_at"])
    odd = replayed.verdict not in ("exact", "same_order") or failed
    if windows is None:
        return _bare(request_id, replayed.sentence, replayed.verdict, inputs)
    try:
        sample = join(read(workbench.snapshot, *windows, most=most), request.batch)
    except CannotSayError:
        return _bare(request_id, replayed.sentence, replayed.verdict, inputs)
    if min((~sample.incident).sum(), sample.incident.sum()) < _FEWEST:
        return _bare(request_id, replayed.sentence, replayed.verdict, inputs)
    case = prepare(workbench, metric("score_mean"), sample)
    place = sample.batch.request_ids.index(request_id)
    case, suspects, drops = find_suspects(case)
    findings = _findings(case, suspects, drops, place)
    verdict, reason = _verdict(findings, odd, replayed.sentence, inputs)
    return Diagnosis(request_id, verdict, reason, replayed.verdict, inputs, findings, windows[0], len(sample) - 1)


def _windows(workbench: Workbench, at: datetime | None) -> tuple[Window, Window] | None:
    """The first quarter of the two weeks before the request, and everything since then to the end of the log; None where the log does not
    reach back. What is wrong may have begun at any moment between."""
    log = workbench.snapshot.window()
    if log is None or not isinstance(at, datetime) or at <= log[0]:
        return None
    begin = max(log[0], at - _BACK)
    start = begin + (at - begin) / 4
    return Window(begin, start), Window(start, log[1] + timedelta(seconds=1))


def _bare(request_id: str, sentence: str, replay: str, inputs: str) -> Diagnosis:
    reason = f"There are too few requests before this one to compare it with. {sentence} {inputs}"
    return Diagnosis(request_id, NOT_ENOUGH_DATA, reason, replay, inputs, (), None, 0)


def _findings(case: Case, suspects: Sequence[Suspect], drops: Sequence[tuple[Suspect, Loan]], place: int) -> tuple[Finding, ...]:
    mine = [s for s in (*suspects, *(s for s, _ in drops)) if s.hit[place]]
    found = [_finding(case, s, _moved(case, s, place)) for s in mine]
    found = [f for f in found if f.moved or f.component in ("serving", "candidates", "logging")]
    return tuple(sorted(found, key=lambda f: (-f.replayed, -f.moved)))


def _moved(case: Case, suspect: Suspect, place: int) -> int | None:
    """Places of the page that change when the suspect is put back; None where replay cannot reach it."""
    if suspect.repair is None:
        return None
    part = case.stage.take(np.array([place]))
    before = world_of(part, case.world)
    was, now = part.play(before), part.play(put_back(part, before, suspect))
    return int(((was.position != now.position) & ((was.position > 0) | (now.position > 0))).sum())


def _finding(case: Case, suspect: Suspect, moved: int | None) -> Finding:
    return Finding(
        suspect.component,
        suspect.target,
        suspect.where,
        moment(suspect.since),
        moved or 0,
        moved is not None,
        suspect.owner,
        suspect.evidence,
        _blast(case, suspect),
    )


def _blast(case: Case, suspect: Suspect) -> Blast:
    sample, hit = case.sample, suspect.hit
    rows = np.flatnonzero(hit)
    shown = hit[sample.owner] & (sample.numbers("position") > 0)
    items = sample.words("item_id", "candidates")[0][shown]
    last, end = float(sample.time[rows].max()), float(sample.time[sample.incident].max())
    where = "; ".join(f"{k} = {', '.join(map(str, v))}" for k, v in suspect.where.items())
    what = suspect.evidence[0].text.partition(" (")[0] if suspect.evidence else suspect.name
    return Blast(
        f"{what}{f'; {where}' if where else ''}, since {iso(moment(suspect.since))}",
        estimate.count(np.clip(sample.keep[rows], 1e-9, 1.0)),
        len(np.unique(sample.members[rows])),
        len(np.unique(items)),
        moment(suspect.since),
        moment(last),
        bool(end - last <= max(_WENT_ON * (end - suspect.since), 3600.0)),
    )


def _verdict(findings: Sequence[Finding], odd: bool, sentence: str, inputs: str) -> tuple[str, str]:
    if findings:
        first = findings[0]
        place = f"; putting it back changes {first.moved} places of its page" if first.replayed else ""
        return CAUSE_FOUND, f"{first.component} {first.target}: {first.evidence[0].text if first.evidence else ''}{place}."
    if odd:
        return UNEXPLAINED, f"{sentence} {inputs} Requests like it, before and after, do not say why."
    return NO_CHANGE, f"It was served as requests like it always were. {sentence}"
