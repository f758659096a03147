"""Which series a workspace has: metrics, features and slices, as its settings say or its log allows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from diagnosis.detect.panel import INPUTS, OUTCOMES, OUTPUTS, SERVING, Series
from diagnosis.errors import DiagnosisError
from diagnosis.inputs.contracts import Contract, read_contracts
from diagnosis.log.filters import parse_filter
from diagnosis.metrics import Metric
from diagnosis.reproduce import Workbench
from diagnosis.store import Query, documents
from diagnosis.store.hourly import Term
from diagnosis.store.state import watches

VERSION = "3"  # of what this module makes of a log: sums that were kept under another are made anew
SOON_S = 3600.0  # outcomes are looked at so soon, and again when all have come
# Columns that say which version, experiment or sample a request belongs to, or how it was served: not who asked, nor for what.
_ASIDE = {"status", "fallback", "stratum", "model", "model_version", "ruleset_version", "code_version", "log_schema", "task", "environment"}
_RESERVED = {"request_id", "item_id", "date", "score", "probability", "rank", "position", "propensity", "keep_probability", "seed", "slots"}
_RESERVED |= {"candidates_total", "candidates_logged", "latency_ms", "cost", "dropped_by"}
_MOST_VALUES, _SHOWN_VALUES, _MOST_FEATURES = 30, 8, 60


@dataclass(frozen=True)
class Watched:
    """A term, and what the series made of it are called."""

    term: Term
    series: Series  # of everything


@dataclass(frozen=True)
class Plan:
    """What is summed.

    Attributes
    ----------
    digest : str
        Of all that it was made from.
    watched : tuple of Watched
    own : tuple of str
        Metrics of the workspace's own, computed request by request.
    groups : tuple of tuple of str
        Attributes of requests that are sliced by; the first is everything.
    shallow : int
        Terms that are not deep are summed in the first so many groups.
    skipped : tuple of (str, str)
        What cannot be watched, and why.
    """

    digest: str
    watched: tuple[Watched, ...]
    own: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    shallow: int
    skipped: tuple[tuple[str, str], ...] = ()

    def as_json(self) -> str:
        """As text, for `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """A plan as `as_json` wrote it."""
        kept = json.loads(text)
        watched = tuple(Watched(_term(w["term"]), Series(**w["series"])) for w in kept.pop("watched"))
        groups, skipped = (tuple(tuple(v) for v in kept.pop(name)) for name in ("groups", "skipped"))
        return cls(kept["digest"], watched, tuple(kept["own"]), groups, kept["shallow"], skipped)


def _term(kept: dict[str, Any]) -> Term:
    return Term(**{**kept, "values": tuple(kept["values"]), "tasks": tuple(kept["tasks"])})


def digest(workbench: Workbench) -> str:
    """Changes when what can or should be watched does."""
    settings, snapshot = workbench.workspace.settings, workbench.snapshot
    contracts = workbench.workspace.contracts_file
    parts = [
        VERSION,
        settings.detect.model_dump_json(),
        json.dumps({name: m.model_dump() for name, m in settings.metrics.items()}, sort_keys=True),
        repr((settings.positive_events, settings.attribution_time_s)),
        contracts.read_text(encoding="utf-8") if contracts.exists() else "",
        repr([(t, sorted(snapshot.columns(t).items())) for t in ("requests", "candidates", "items", "outcomes") if t in snapshot.tables()]),
        repr([(b.name, b.version) for b in workbench.bundles]),
        repr(_checks(workbench)),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def plan(workbench: Workbench) -> Plan:
    """What to watch.

    Raises
    ------
    ContractError
    """
    wanted = workbench.workspace.settings.detect
    skipped: list[tuple[str, str]] = []
    names = list(wanted.metrics) if wanted.metrics is not None else [*_default_metrics(workbench), *workbench.workspace.settings.metrics]
    names += [metric for _, metric, _ in _checks(workbench) if metric not in names]
    watched, own = [Watched(Term("requests", "requests"), Series("requests", "requests", "", SERVING, "count", "requests / hour"))], []
    for name in names:
        try:
            metric = workbench.metric(name)
            if metric.level:
                _own_columns(workbench, metric)
                own.append(name)
            else:
                watched += _of_metric(workbench, metric)
        except (DiagnosisError, ValueError) as error:
            skipped.append((name, str(error).splitlines()[0]))
    watched += _features(workbench, skipped)
    kept = list({w.term.name: w for w in watched}.values())
    groups, shallow = _groups(workbench, skipped)
    return Plan(digest(workbench), tuple(kept), tuple(dict.fromkeys(own)), groups, shallow, tuple(skipped))


def _own_columns(workbench: Workbench, metric: Metric) -> None:
    from diagnosis.errors import MissingColumnError
    from diagnosis.metrics import missing_columns

    columns = {
        t: list(workbench.snapshot.columns(t)) for t in ("requests", "candidates", "items", "outcomes") if t in workbench.snapshot.tables()
    }
    gone = missing_columns(metric, columns)
    if gone:
        raise MissingColumnError("log", gone[0], sorted({c for names in columns.values() for c in names}))


def _default_metrics(workbench: Workbench) -> Iterator[str]:
    """Built-in metrics that the log has columns for."""
    tables = workbench.snapshot.tables()
    requests, candidates = (workbench.snapshot.columns(t) for t in ("requests", "candidates"))
    if "outcomes" in tables and "position" in candidates:
        yield from ("ctr", "ndcg@10")
        if "probability" in candidates:
            yield "calibration"
    if "score" in candidates:
        yield "score_mean"
    if "status" in requests:
        yield from ("fallback_rate", "error_rate")
    yield from (name for name, column in (("latency_p95", "latency_ms"), ("cost", "cost")) if column in requests)
    if "position" in candidates:
        if "items" in tables and "launched_at" in workbench.snapshot.columns("items"):
            yield "launch_exposure"
        for attribute, values in _few_valued_items(workbench):
            yield f"diversity:{attribute}"
            yield from (f"exposure:{attribute}={value}" for value in values)


def _few_valued_items(workbench: Workbench) -> Iterator[tuple[str, list[str]]]:
    """Attributes of items with few values, and the most frequent of these."""
    snapshot = workbench.snapshot
    table = "items" if "items" in snapshot.tables() else "candidates"
    for name, kind in snapshot.columns(table).items():
        if kind not in ("string", "bool") or name in _RESERVED or name in ("title", "valid_from"):
            continue
        values = snapshot.distinct(table, name, limit=_MOST_VALUES + 1)
        if 2 <= len(values) <= _MOST_VALUES:
            yield name, [str(v) for v in values[: 1 if kind == "bool" else _SHOWN_VALUES]]


def _of_metric(workbench: Workbench, metric: Metric) -> list[Watched]:
    """The terms of a built-in metric.

    Raises
    ------
    ValueError
        If it has no value of an hour that a baseline could be made of.
    """
    settings, name = workbench.workspace.settings, metric.name
    simple = {
        "score_mean": (Term(name, "mean", "score", deep=True), OUTPUTS, "number"),
        "exposure": (Term(name, "exposure", metric.attribute, values=(metric.value,), deep=False), OUTPUTS, "share"),
        "diversity": (Term(name, "diversity", metric.attribute, deep=False), OUTPUTS, "share"),
        "launch_exposure": (Term(name, "launch", deep=False), OUTPUTS, "share"),
        "rank_churn": (Term(name, "churn", deep=False), OUTPUTS, "share"),
        "fallback_rate": (Term(name, "status", "status", "requests", ("fallback",)), SERVING, "share"),
        "error_rate": (Term(name, "status", "status", "requests", ("error", "timeout")), SERVING, "share"),
        "cost": (Term(name, "number", "cost", "requests"), SERVING, "number"),
    }
    if metric.base in simple:
        term, symptom, form = simple[metric.base]
        return [Watched(term, Series(name, name, "", symptom, form, metric.unit, better=metric.direction))]
    if metric.base == "latency_p95":
        usual = _usual_latency(workbench)
        return [
            Watched(
                Term(name, "above", "latency_ms", "requests", low=usual),
                Series(name, name, "", SERVING, "share", f"share over {usual:g} ms", better=metric.direction),
            )
        ]
    kinds = {"ctr": ("success", "share"), "calibration": ("promised", "ratio"), "ndcg": ("ndcg", "share"), "mrr": ("mrr", "share")}
    if metric.base not in kinds:
        raise ValueError("has no value of an hour that others could be compared with")
    kind, form = kinds[metric.base]
    whole = settings.attribution_time_s
    out = []
    for within in (whole,) if whole <= 2 * SOON_S else (SOON_S, whole):
        called = name if within == whole else f"{name} within 1 h"
        out.append(
            Watched(
                Term(called, kind, within_s=within, k=metric.k or 10),
                Series(called, name, "", OUTCOMES, form, metric.unit, within, better=metric.direction),
            )
        )
    return out


def _usual_latency(workbench: Workbench) -> float:
    """What 95 of 100 requests stay below, to three digits; a share above it is what is watched."""
    rows = workbench.snapshot.find(Query(limit=50_000))
    held = rows["latency_ms"].to_numpy(dtype=np.float64), rows["weight"].to_numpy(dtype=np.float64)
    good = np.isfinite(held[0])
    if not good.any():
        raise ValueError("no request has a latency")
    values, weight = held[0][good], held[1][good]
    order = np.argsort(values)
    place = np.searchsorted(np.cumsum(weight[order]), 0.95 * weight.sum())
    return float(f"{values[order][min(int(place), len(order) - 1)]:.3g}")


def _features(workbench: Workbench, skipped: list[tuple[str, str]]) -> list[Watched]:
    """Missing shares, means and breaches of features."""
    wanted = workbench.workspace.settings.detect.features
    contracts = {c.name: c for c in read_contracts(workbench.workspace.contracts_file)} or _bare(workbench)
    for name in wanted or ():
        if name not in contracts:
            skipped.append((name, "no feature of that name has a contract or a column"))
    chosen = [c for name, c in contracts.items() if wanted is None or name in wanted]
    if len(chosen) > _MOST_FEATURES and wanted is None:
        skipped.append(
            (
                f"{len(chosen) - _MOST_FEATURES} features",
                f"only the first {_MOST_FEATURES} are watched; name others under [detect] features",
            )
        )
        chosen = chosen[:_MOST_FEATURES]
    known = {f.name: f.categories for b in workbench.bundles for f in b.features if f.categories}
    out: list[Watched] = []
    for contract in chosen:
        columns = workbench.snapshot.columns(contract.table)
        if contract.column not in columns:
            skipped.append((contract.name, f"{contract.table} have no column {contract.column!r}"))
        else:
            out += _of_feature(contract, columns[contract.column], known.get(contract.name, ()))
    return out


def _bare(workbench: Workbench) -> dict[str, Contract]:
    """Columns that may be features, where nobody wrote a contract: those of the models, else numbers of candidates."""
    features = {f.name: f.source for b in workbench.bundles for f in b.features}
    if not features:
        numbers = {n for n, kind in workbench.snapshot.columns("candidates").items() if kind in ("double", "int64")}
        features = {n: f"candidates.{n}" for n in sorted(numbers - _RESERVED) if not n.endswith("__status")}
    return {name: Contract(name, source) for name, source in features.items()}


def _of_feature(contract: Contract, kind: str, categories: tuple[str, ...]) -> list[Watched]:
    number = kind in ("double", "int64")
    base = Term("", "missing", contract.column, contract.table, sentinel=contract.sentinel, tasks=contract.tasks, deep=False)

    def made(of: str, form: str, unit: str, **changed: Any) -> Watched:
        name = f"{of}:{contract.name}"
        return Watched(replace(base, name=name, kind=of, **changed), Series(name, name, "", INPUTS, form, unit, upstream=contract.upstream))

    out = [made("missing", "share", "share")]
    if number:
        out.append(made("mean", "number", contract.unit))
        if math.isfinite(contract.min) or math.isfinite(contract.max):
            out.append(made("outside", "share", "share", low=contract.min, high=contract.max))
    elif contract.values or categories:
        out.append(made("outside", "share", "share", values=tuple(contract.values or categories)))
    return out


def _groups(workbench: Workbench, skipped: list[tuple[str, str]]) -> tuple[tuple[tuple[str, ...], ...], int]:
    """Everything, tasks, environments, and what else there is of few values."""
    snapshot, wanted = workbench.snapshot, workbench.workspace.settings.detect.by
    few = snapshot.few_valued(most=_MOST_VALUES)
    groups: list[tuple[str, ...]] = [(), ("task",), *([("environment",)] if "environment" in few else [])]
    schema = snapshot.pinned["requests"].schema
    if wanted is None:
        groups += [(name,) for name in few if name not in _ASIDE and pa.types.is_string(schema.field(name).type)]
        return _with_checks(workbench, groups, skipped), 2
    for text in wanted:
        group = tuple(part.strip() for part in text.split(","))
        gone = [name for name in group if name not in schema.names]
        if gone:
            skipped.append((text, f"requests have no column {gone[0]!r}"))
        elif group not in groups:
            groups.append(group)
    return _with_checks(workbench, groups, skipped), 2


def _with_checks(workbench: Workbench, groups: list[tuple[str, ...]], skipped: list[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """The groups, and those that the slices of added checks need."""
    columns, made = workbench.snapshot.pinned["requests"].schema.names, list(groups)
    for name, _, where in _checks(workbench):
        try:
            clauses = parse_filter(where).clauses
        except DiagnosisError as error:
            skipped.append((name, error.message))
            continue
        group = tuple(sorted({c.attribute for c in clauses}))
        strange = [c.attribute for c in clauses if c.operator != "=" or c.attribute not in columns]
        if strange:
            skipped.append((name, f"detection slices by columns of requests that are equal to something; {strange[0]!r} is none"))
        elif not any(set(group) == set(known) for known in made):
            made.append(group)
    return tuple(made)


def _checks(workbench: Workbench) -> list[tuple[str, str, str]]:
    """Checks that somebody added (name, metric, slice), by name."""
    kept = documents.listed(workbench.state, watches, workbench.workspace.id, status="on")
    return sorted((d.key, str(d.payload.get("metric", "")), str(d.payload.get("where", ""))) for d in kept)
