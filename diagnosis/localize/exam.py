"""Answers against known truth: how often the first cause is right, false alarms, calibration, seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.localize.confidence import calibration_error, confidence, fit
from diagnosis.localize.metric import metric_of
from diagnosis.localize.question import localize
from diagnosis.localize.result import NO_CHANGE, NOT_ENOUGH_DATA, UNEXPLAINED, Cause, Localization
from diagnosis.localize.windows import Window
from diagnosis.log.filters import Clause, Filter
from diagnosis.reproduce import Workbench
from diagnosis.store import Query

SAME_SLICE = 0.8  # Jaccard index of the requests of two slices above which they are one


@dataclass(frozen=True)
class Graded:
    """One answer, graded.

    Attributes
    ----------
    negative : bool
        Whether the right answer is that nothing is wrong.
    first, third : bool
        Whether the first cause (one of the first three) is right: component, target and slice. Of a compound: the first causes, as many
        as there are.
    signals, rights : tuple
        Of every cause, what its confidence is computed from and whether it is right.
    """

    kind: str
    name: str
    negative: bool
    verdict: str
    first: bool
    third: bool
    seconds: float
    first_ranking: float
    signals: tuple[Mapping[str, float], ...]
    rights: tuple[bool, ...]
    said: str


def grade(folder: Path, truth: Mapping[str, Any], *, most: int = 20_000) -> Graded:
    """Ask a workspace the question of its truth, and grade the answer."""
    bench = Workbench.open(folder)
    if any((b.name, b.version) not in bench.admissions for b in bench.bundles):
        bench.admit()
    baseline, incident = (_window(truth[name]) for name in ("baseline", "incident"))
    answer, seconds, first = _asked(bench, str(truth["metric"]), baseline, incident, most)
    wanted = list(truth["causes"]) if truth.get("causes") else [truth] if truth.get("component") else []
    rights = tuple(any(matches(bench, cause, w, incident) for w in wanted) for cause in answer.causes)
    negative = not truth["harmful"]
    if negative:
        right = third = answer.verdict in (NO_CHANGE, NOT_ENOUGH_DATA)
    elif not wanted:
        right = third = answer.verdict == UNEXPLAINED
    else:
        found = [
            sum(any(matches(bench, c, w, incident) for c in answer.causes[:n]) for w in wanted) for n in (len(wanted), len(wanted) + 2)
        ]
        right, third = found[0] == len(wanted), found[1] == len(wanted)
    return Graded(
        str(truth["kind"]),
        folder.name,
        negative,
        answer.verdict,
        right,
        third,
        seconds,
        first,
        tuple(c.signals for c in answer.causes),
        rights,
        _said(answer),
    )


def placebo(folder: Path, truth: Mapping[str, Any], *, most: int = 20_000) -> Graded:
    """The baseline's first half against its second: nothing happened."""
    bench = Workbench.open(folder)
    window = _window(truth["baseline"])
    middle = window.since + (window.until - window.since) / 2
    middle = middle.replace(minute=0, second=0, microsecond=0)
    answer, seconds, first = _asked(bench, str(truth["metric"]), Window(window.since, middle), Window(middle, window.until), most)
    right = answer.verdict in (NO_CHANGE, NOT_ENOUGH_DATA)
    return Graded(
        "placebo",
        folder.name,
        True,
        answer.verdict,
        right,
        right,
        seconds,
        first,
        tuple(c.signals for c in answer.causes),
        (False,) * len(answer.causes),
        _said(answer),
    )


def _asked(bench: Workbench, metric: str, baseline: Window, incident: Window, most: int) -> tuple[Localization, float, float]:
    began, firsts = time.perf_counter(), []

    def progress(text: str, share: float, answer: Localization | None) -> None:
        if answer is not None:
            firsts.append(time.perf_counter() - began)

    answer = localize(bench, metric_of(bench, metric), baseline, incident, most=most, progress=progress)
    return answer, time.perf_counter() - began, firsts[0]


def _window(raw: Mapping[str, str]) -> Window:
    return Window(datetime.fromisoformat(raw["since"]), datetime.fromisoformat(raw["until"]))


def _said(answer: Localization) -> str:
    if not answer.causes:
        return answer.verdict
    return "; ".join(f"{c.component}: {c.target} {dict(c.where) or ''}".strip() for c in answer.causes[:3])


def matches(bench: Workbench, cause: Cause, wanted: Mapping[str, Any], incident: Window) -> bool:
    """Whether a cause is the true one: same component and target, and a slice of (nearly) the same requests and items."""
    if (cause.component, cause.target) != (wanted["component"], wanted["target"]):
        return False
    mine, theirs = dict(cause.where), dict(wanted["slice"])
    if _texts(mine) == _texts(theirs):
        return True
    requests = bench.snapshot.columns("requests")
    known = [name for name in {*mine, *theirs} if name.partition(".")[0] in requests]
    items = {k: v for k, v in mine.items() if k not in known}, {k: v for k, v in theirs.items() if k not in known}
    if _texts(items[0]) != _texts(items[1]):
        return False
    if not known:
        return True
    ids = [_ids(bench, {k: v for k, v in side.items() if k in known}, incident) for side in (mine, theirs)]
    either = len(ids[0] | ids[1])
    return bool(either) and len(ids[0] & ids[1]) / either >= SAME_SLICE


def _texts(where: Mapping[str, Any]) -> dict[str, list[str]]:
    return {k: sorted(str(v) for v in values) for k, values in where.items()}


def _ids(bench: Workbench, where: Mapping[str, Any], window: Window) -> set[str]:
    clauses = tuple(Clause(k, "=", tuple(None if v is None else _word(v) for v in values)) for k, values in where.items())
    found = bench.snapshot.find(Query(where=Filter(clauses), since=window.since, until=window.until, limit=1_000_000))
    return set(found.index)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def exam(folder: Path) -> Iterable[tuple[Path, dict[str, Any]]]:
    """Workspaces below `folder` that have a truth beside them.

    Raises
    ------
    ValueError
        If there is none.
    """
    files = sorted(folder.glob("*.truth.json"))
    if not files:
        raise ValueError(f"{folder} holds no *.truth.json; `diagnosis sample {folder}/NAME` writes a workspace with its truth beside it")
    for file in files:
        yield file.with_name(file.name.removesuffix(".truth.json")), json.loads(file.read_text(encoding="utf-8"))


def summary(graded: Sequence[Graded]) -> pd.DataFrame:
    """One row a kind, index ``kind``: ``worlds``, ``top1``, ``top3`` (shares right), ``median_s``, ``p95_s``, ``first_s`` (seconds)."""
    rows = []
    for kind in dict.fromkeys(g.kind for g in graded):
        mine = [g for g in graded if g.kind == kind]
        seconds = [g.seconds for g in mine]
        rows.append(
            {
                "kind": kind,
                "worlds": len(mine),
                "top1": float(np.mean([g.first for g in mine])),
                "top3": float(np.mean([g.third for g in mine])),
                "median_s": float(np.median(seconds)),
                "p95_s": float(np.quantile(seconds, 0.95)),
                "first_s": float(np.median([g.first_ranking for g in mine])),
            }
        )
    return pd.DataFrame(rows).set_index("kind")


def false_alarms(graded: Sequence[Graded]) -> tuple[int, int]:
    """Negatives that were called something, and negatives."""
    negatives = [g for g in graded if g.negative]
    return sum(not g.first for g in negatives), len(negatives)


def left_out(graded: Sequence[Graded]) -> float:
    """Expected calibration error of the first causes, the confidence fitted each time without the kind that it is asked about."""
    chances, rights = [], []
    for kind in dict.fromkeys(g.kind for g in graded):
        train = [(s, r) for g in graded if g.kind != kind for s, r in zip(g.signals, g.rights, strict=True)]
        try:
            weights = fit([s for s, _ in train], [r for _, r in train])
        except ValueError:
            return float("nan")
        for g in graded:
            if g.kind == kind and g.signals:
                raw = weights["intercept"] + sum(weights[name] * value for name, value in g.signals[0].items())
                chances.append(1 / (1 + np.exp(-raw)))
                rights.append(g.rights[0])
    return calibration_error(np.array(chances), np.array(rights, dtype=np.bool_))


def as_shipped(graded: Sequence[Graded]) -> float:
    """Expected calibration error of the first causes with the confidence as it stands."""
    held = [g for g in graded if g.signals]
    return calibration_error(np.array([confidence(g.signals[0]) for g in held]), np.array([g.rights[0] for g in held], dtype=np.bool_))


def refit(graded: Sequence[Graded]) -> dict[str, float]:
    """Weights of the confidence on all causes of all answers."""
    pairs = [(s, r) for g in graded for s, r in zip(g.signals, g.rights, strict=True)]
    return fit([s for s, _ in pairs], [r for _, r in pairs])
