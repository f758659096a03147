"""What a finding stands on: digests of the rows, the model and the ruleset that it used; and whether they are still the same."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa

from diagnosis.errors import DiagnosisError, NotFoundError
from diagnosis.localize.asking import Question
from diagnosis.localize.windows import parse_window
from diagnosis.log.records import Request
from diagnosis.reproduce import Workbench
from diagnosis.store import Query


@dataclass(frozen=True)
class Evidence:
    """Digests (SHA-256) of what was looked at.

    Attributes
    ----------
    rows : str
        Of the request's rows in all log tables; independent of how they lie in files, so compaction does not change it.
    model, ruleset : str or None
        Of the artifact and of the ruleset's content.
    tables : dict of str to str
        Version of every table at that time.
    """

    request_id: str
    rows: str
    model: str | None
    ruleset: str | None
    tables: dict[str, str]

    def as_record(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True)
class WindowsEvidence:
    """Digests (SHA-256) of what an answer about two windows stands on.

    Attributes
    ----------
    question : dict of str to str
        Its metric, windows and filter, as text.
    requests : tuple of int
        Logged requests of the baseline and of the incident.
    rows : str
        Of how many requests each hour of both windows holds, by status, and what they stand for.
    models : str
        Of the artifacts of all models and of all rulesets.
    tables : dict of str to str
        Version of every table at that time.
    """

    question: dict[str, str]
    requests: tuple[int, int]
    rows: str
    models: str
    tables: dict[str, str]

    def as_record(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "requests": list(self.requests)}


def windows_evidence_of(workbench: Workbench, question: Question) -> WindowsEvidence:
    """Digests of what an answer to `question` stands on."""
    digest, counts = hashlib.sha256(), []
    for window in (question.baseline, question.incident):
        query = Query(where=question.filter, since=window.since, until=window.until)
        hours = workbench.snapshot.aggregate(by=["status"], bucket=timedelta(hours=1), query=query)
        counts.append(int(hours["requests"].sum()))
        for row in hours.itertuples(index=False):
            digest.update(f"{row.at} {row.status} {row.requests} {row.weight:.6g}\0".encode())
    held = sorted(f"{b.name}/{b.version} {b.sha256}" for b in workbench.bundles)
    held += [f"{version} {ruleset!r}" for version, ruleset in sorted(workbench.rulesets.items())]
    asked = {
        "metric": question.metric,
        "baseline": str(question.baseline),
        "incident": str(question.incident),
        "where": question.where,
    }
    models = hashlib.sha256("\0".join(held).encode()).hexdigest()
    return WindowsEvidence(asked, (counts[0], counts[1]), digest.hexdigest(), models, workbench.snapshot.versions)


def evidence_of(workbench: Workbench, request: Request) -> Evidence:
    """Digests of what a diagnosis of `request` stands on."""
    row = request.row
    model = None
    if row.get("model_version"):
        try:
            model = workbench.bundle(row.get("model"), row["model_version"]).sha256
        except DiagnosisError:
            model = None
    ruleset = workbench.rulesets.get(row.get("ruleset_version") or "")
    return Evidence(
        request_id=request.request_id,
        rows=rows_digest(request),
        model=model,
        ruleset=hashlib.sha256(repr(ruleset).encode()).hexdigest() if ruleset else None,
        tables=workbench.snapshot.versions,
    )


def rows_digest(request: Request) -> str:
    """Digest of the rows of a request, by value: sorted, columns by name, without columns that are all null."""
    digest = hashlib.sha256()
    for name, table in (("requests", request.requests), ("candidates", request.table), ("outcomes", request.outcomes)):
        held = sorted(c for c in table.column_names if table.column(c).null_count < table.num_rows)
        rows = sorted(repr([(c, _value(table.column(c)[i])) for c in held]) for i in range(table.num_rows))
        digest.update(f"{name}\0{len(rows)}\0".encode())
        for row in rows:
            digest.update(row.encode())
            digest.update(b"\0")
    return digest.hexdigest()


def moved(workbench: Workbench, record: dict[str, Any]) -> str:
    """Whether what an evidence record stands on is still so: ``unchanged``, ``moved``, or ``expired`` when the request is gone."""
    if "question" in record:
        return _windows_moved(workbench, record)
    try:
        request = workbench.request(record["request_id"])
    except NotFoundError:
        return "expired"
    now = evidence_of(workbench, request)
    same = (now.rows, now.model, now.ruleset) == (record["rows"], record["model"], record["ruleset"])
    return "unchanged" if same else "moved"


def _windows_moved(workbench: Workbench, record: dict[str, Any]) -> str:
    asked = record["question"]
    windows = parse_window(asked["baseline"]), parse_window(asked["incident"])
    now = windows_evidence_of(workbench, Question(asked["metric"], *windows, asked["where"]))
    if 0 in now.requests:
        return "expired"
    return "unchanged" if (now.rows, now.models) == (record["rows"], record["models"]) else "moved"


def _value(scalar: pa.Scalar) -> Any:
    value = scalar.as_py()
    return value.isoformat() if hasattr(value, "isoformat") else value
