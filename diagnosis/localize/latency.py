"""Requests that got slower: what moved a quantile of latency, by what they were served with.

A quantile is no sum over requests, so nothing can be said of what each request gives to it; but it rises exactly when more requests lie
above where it was. So the question is asked of the share of requests that are slower than the baseline's quantile. Causes are what the log
says of serving: status, versions, rulesets, code, retrievers, and who asks. A replay does not tell how long serving takes; so each is
weighed against requests of the same task and place that were served as before, in the baseline and at the same time (difference in
differences; Card, Krueger 1994), and its proof is called statistical.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow.compute as pc

from diagnosis import estimate
from diagnosis.errors import CannotSayError, MissingColumnError
from diagnosis.estimate import Estimate
from diagnosis.localize.case import Case, prepare
from diagnosis.localize.effects import Effects, given
from diagnosis.localize.judge import Judge, Success
from diagnosis.localize.moved import moved_in
from diagnosis.localize.result import CAUSE_FOUND, UNEXPLAINED, Localization, Measured, RuledOut
from diagnosis.localize.sample import Floats, Mask, Sample, read
from diagnosis.localize.suspects import Evidence, Suspect
from diagnosis.localize.traffic import traffic_suspects
from diagnosis.localize.verdict import LEANS, conclude
from diagnosis.localize.versions import model_suspects, ruleset_suspects, seen_more, share_in, status_suspects
from diagnosis.localize.windows import Window
from diagnosis.log.filters import Filter
from diagnosis.metrics import Metric, PerRequest
from diagnosis.reproduce import Workbench

_LEVEL = 0.95
_PRIOR = 30.0  # requests by which a place's rate is drawn to the overall one
_ENOUGH = 100  # requests served as before at the same time, from which they tell what the time of day and the like do
_CLEAR, _LEANING = (
    4.0,
    3.0,
)  # standard errors that a suspect's own effect must have, of dozens; and where latency as a whole seems to have moved
_SAME = 0.8  # of the requests of one suspect that another must share to be no other


@dataclass(frozen=True, eq=False)
class Slow:
    """Which requests are slow.

    Attributes
    ----------
    above_ms : float
        The baseline's quantile.
    slow, known : array of float64, shape (requests,)
        1 where a request took longer, and where its latency is known.
    """

    above_ms: float
    slow: Floats
    known: Floats

    def share(self, metric: Metric) -> Metric:
        """What is asked of instead: a ratio, and what it is called."""
        return replace(metric, name=f"the share of requests slower than {self.above_ms:.4g} ms", unit="share", kind="ratio")

    @property
    def parts(self) -> PerRequest:
        """That share, request by request."""
        return PerRequest(self.slow, self.known)


def slower(
    workbench: Workbench,
    metric: Metric,
    baseline: Window,
    incident: Window,
    *,
    where: Filter | None = None,
    most: int = 20_000,
    step: Callable[[str, float], None] = lambda text, share: None,
) -> Localization:
    """Find what moved a quantile of latency between two windows that are known to be fine.

    Parameters
    ----------
    step : callable
        Told what is being done, and the share that is done.

    Raises
    ------
    CannotSayError
        If a window holds no request with a latency.
    MissingColumnError
        If the log has no latency.
    """
    began = time.perf_counter()
    step("reading requests", 0.1)
    sample = read(workbench.snapshot, baseline, incident, where=where, most=most)
    found = slow_of(sample)
    parts = found.parts
    sample.kept["logged"] = parts  # the metric that all that follows asks of
    share = found.share(metric)
    settings = workbench.workspace.settings
    judge = Judge(share, Success(settings.positive_events, settings.attribution_time_s), None)
    step("reading models and rules", 0.3)
    case = prepare(workbench, share, sample)
    step("looking at statuses, versions, candidates and traffic", 0.5)
    suspects = served_otherwise(case, found)
    step("weighing the evidence", 0.9)
    moved = estimate.ratio_difference(parts.numerator, parts.denominator, sample.keep, sample.incident, sample.members, unit="share")
    least = _LEANING if abs(moved.value) > LEANS * moved.se else _CLEAR
    clear = [s for s in suspects if clearness(s) >= least]
    effects = Effects(tuple(given(s) for s in [*clear, *traffic_suspects(sample, judge)]))
    shares = _windows(sample, (baseline, incident), lambda rows: _share(sample, parts, rows))
    answer = conclude(case.stage, judge, shares, moved, effects, workbench.snapshot, where or Filter(), case.replayable)
    if answer.verdict in (CAUSE_FOUND, UNEXPLAINED):
        answer = replace(answer, slices=moved_in(sample, parts, moved))
    answer = replace(answer, ruled_out=_ruled_out(answer, [s for s in suspects if s not in clear]))
    return replace(_in_ms(answer, metric, sample, (baseline, incident)), elapsed_s=time.perf_counter() - began)


def slow_of(sample: Sample) -> Slow:
    """Which requests of both windows are slower than the baseline's quantile.

    Raises
    ------
    CannotSayError, MissingColumnError
    """
    if "latency_ms" not in sample.batch.requests.column_names:
        raise MissingColumnError("requests", "latency_ms", sample.batch.requests.column_names)
    latency = sample.numbers("latency_ms", "requests")
    known = np.isfinite(latency)
    for name, rows in (("baseline", ~sample.incident), ("incident", sample.incident)):
        if not (known & rows).any():
            raise CannotSayError(f"No request of the {name} has a latency.", "log latency_ms, or ask for another window.")
    above = _quantile(sample, ~sample.incident).value
    return Slow(above, np.where(known & (latency > above), 1.0, 0.0), known.astype(np.float64))


def served_otherwise(case: Case, found: Slow) -> list[Suspect]:
    """Statuses, versions, code and retrievers that serve more requests than they did, each with what it did to the share of slow ones.

    What hits nearly the same requests as a clearer one is named beside it, not counted again.
    """
    sample, stage, world = case.sample, case.stage, case.world
    seen = [*status_suspects(stage, world), *model_suspects(stage, world), *ruleset_suspects(stage, world)]
    seen += [*_code(sample), *_retrievers(sample)]
    weighed = [_weighed(sample, found, s) for s in seen]
    weighed.sort(key=clearness, reverse=True)
    kept: list[Suspect] = []
    for suspect in weighed:
        same = next((i for i, k in enumerate(kept) if _alike(k.hit, suspect.hit)), None)
        if same is None:
            kept.append(suspect)
        else:
            beside = Evidence("confound", f"Cannot be told from {suspect.name}, which serves the same requests.")
            kept[same] = replace(kept[same], evidence=(*kept[same].evidence, beside))
    return kept


def clearness(suspect: Suspect) -> float:
    """Its effect in standard errors."""
    value, se = suspect.effect or (0.0, math.inf)
    return abs(value / se) if se > 0 else 0.0


def _ruled_out(answer: Localization, others: Sequence[Suspect]) -> tuple[RuledOut, ...]:
    """With those that serve more requests, but not more slowly."""
    found = [RuledOut(s.component, "; ".join(e.text for e in s.evidence), s.target) for s in others]
    named = {r.component for r in found}
    return (*found, *(r for r in answer.ruled_out if r.target or r.component not in named))


def _code(sample: Sample) -> list[Suspect]:
    codes, versions = sample.words("code_version")
    made = []
    for code, version in enumerate(versions):
        found = seen_more(codes == code, sample)
        if found is not None:
            text = f"code version {version} served {share_in(codes == code, sample, found.where)}"
            seen = (Evidence("version", text),)
            made.append(Suspect("serving", str(version), found.where, found.hit, found.since, found.z, None, seen, excess=found.excess))
    return made


def _retrievers(sample: Sample) -> list[Suspect]:
    """Retrievers that propose something to more requests than they did."""
    made = []
    for name, asked in asked_of(sample).items():
        found = seen_more(asked, sample)
        if found is not None:
            seen = (Evidence("composition", f"retriever {name} proposed items for {share_in(asked, sample, found.where)}"),)
            made.append(Suspect("candidates", name, found.where, found.hit, found.since, found.z, None, seen, excess=found.excess))
    return made


def asked_of(sample: Sample) -> dict[str, Mask]:
    """For each retriever, which requests have a candidate of it."""
    rows = sample.batch.candidates
    if "retrievers" not in rows.column_names or not rows.num_rows:
        return {}
    lists = rows.column("retrievers").combine_chunks()
    owner = sample.owner[pc.list_parent_indices(lists).to_numpy()]
    names = pc.list_flatten(lists).dictionary_encode()
    codes = names.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    found = {}
    for place, name in enumerate(names.dictionary.to_pylist()):
        asked = np.zeros(len(sample), dtype=np.bool_)
        asked[owner[codes == place]] = True
        found[str(name)] = asked
    return found


def _weighed(sample: Sample, found: Slow, suspect: Suspect) -> Suspect:
    """The suspect with what it did: how much slower its requests are than those of the same task and place were, less what those beside
    them became meanwhile."""
    w, now = sample.weight * found.known, sample.incident
    codes = np.maximum(sample.words("task")[0], 0)
    inside = sample.inside(dict(suspect.where))
    usual = _rates(codes, found.slow, w * (~now & inside))
    beside = now & inside & ~suspect.hit & (sample.time >= suspect.since)
    drift, doubt, told = 0.0, 0.0, ""
    if (beside & (found.known > 0)).sum() >= _ENOUGH:
        off = (found.slow - usual[codes])[beside]
        drift = float((w[beside] * off).sum() / w[beside].sum())
        doubt = float(np.sqrt(((w[beside] * (off - drift)) ** 2).sum()) / w[beside].sum())
        told = f"; others of the same place at the same time are slow {drift:+.1%} more often than before"
    size, hit = float(w[now].sum()), suspect.hit
    rest = w * (found.slow - usual[codes] - drift) * hit
    value = suspect.excess * float(rest.sum()) / size
    sums = np.bincount(sample.members, weights=rest)
    se = math.hypot(float(np.sqrt((sums**2).sum())) / size, doubt * float(w[hit].sum()) / size)
    slow = sample.mean(found.slow, hit)
    before = float((w * usual[codes])[hit].sum() / max(w[hit].sum(), 1e-12))
    text = f"{slow:.1%} of its requests are slower than {found.above_ms:.4g} ms, where {before:.1%} were before{told}"
    more = (*suspect.evidence, Evidence("latency", text))
    return replace(suspect, repair=None, effect=(value, se), evidence=more, proof="statistical")


def _rates(codes: np.ndarray, slow: Floats, weight: Floats) -> Floats:
    """Share of slow requests by code, drawn to the overall one."""
    size = np.bincount(codes, weights=weight)
    overall = float((weight * slow).sum() / max(weight.sum(), 1e-12))
    prior = _PRIOR * float(weight[weight > 0].mean()) if (weight > 0).any() else 1.0
    return np.asarray((np.bincount(codes, weights=weight * slow) + prior * overall) / (size + prior))


def _alike(a: Mask, b: Mask) -> bool:
    both = float((a & b).sum())
    return bool(both >= _SAME * max(a.sum(), b.sum(), 1))


def _in_ms(answer: Localization, metric: Metric, sample: Sample, windows: tuple[Window, Window]) -> Localization:
    """The answer in the metric's own unit: values as quantiles, effects as their share of its movement."""
    before, after = _windows(sample, windows, lambda rows: _quantile(sample, rows))
    moved = after.value - before.value
    causes = tuple(
        replace(c, effect=c.explains * moved, shown=None) for c in answer.causes
    )  # nothing was replayed, so there is no proof to draw
    said = f"{answer.reason} The {_LEVEL:.0%} quantile went from {before.value:.4g} to {after.value:.4g} ms."
    return replace(
        answer,
        metric=metric.name,
        unit=metric.unit,
        baseline=before,
        incident=after,
        causes=causes,
        reason=said[0].upper() + said[1:],
    )


def _windows(sample: Sample, windows: Sequence[Window], value: Callable[[Mask], Estimate]) -> tuple[Measured, Measured]:
    found = []
    for window, rows in zip(windows, (~sample.incident, sample.incident), strict=True):
        estimated = value(rows)
        found.append(Measured(window, estimated.value, estimated.low, estimated.high, int(rows.sum())))
    return found[0], found[1]


def _share(sample: Sample, parts: PerRequest, rows: Mask) -> Estimate:
    return estimate.ratio(
        parts.numerator[rows], parts.denominator[rows], sample.keep[rows], of="process", clusters=sample.members[rows], share=True
    )


def _quantile(sample: Sample, rows: Mask) -> Estimate:
    latency = sample.numbers("latency_ms", "requests")
    held = rows & np.isfinite(latency)
    return estimate.quantile(latency[held], sample.keep[held], _LEVEL, of="process", clusters=sample.members[held], unit="ms")
