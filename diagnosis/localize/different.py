"""What is different between two windows: the mix of every request attribute, and the metric of each of its values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnosis import estimate
from diagnosis.errors import CannotSayError
from diagnosis.localize.judge import Success
from diagnosis.localize.latency import slow_of
from diagnosis.localize.sample import Attribute, Mask, Sample, read
from diagnosis.localize.windows import Window, check_windows
from diagnosis.log.filters import Filter
from diagnosis.metrics import Metric, PerRequest, per_request
from diagnosis.reproduce import Workbench

LOUD = 3.5  # standard errors beyond which a difference is called loud: hundreds are looked at
_CIRCUMSTANCES = ("status", "fallback", "model_version", "ruleset_version", "code_version", "stratum")
_LEVELS = 12  # values of an attribute that are shown
_NAMED = 4  # attributes that the sentence names
_FEWEST = 10  # requests in each window for a value's metric to be compared
OTHER, NONE = "(other)", "(none)"
_NAMES = ["attribute", "value", "share_before", "share_after", "share_z", "before", "after", "change", "change_z", "requests"]


@dataclass(frozen=True, eq=False)
class Different:
    """Attributes in both windows.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row a value of an attribute; the attribute with the loudest difference first, within it the most frequent value first. Columns
        ``attribute``, ``value`` (text; `NONE` is null, `OTHER` is the rest), ``share_before``, ``share_after`` (float64, weighted share of
        requests), ``share_z`` (float64, their difference in standard errors), ``before``, ``after``, ``change`` (float64, metric, in its
        unit; NaN where too few requests), ``change_z`` (float64, the change beyond that of everything, in standard errors; NaN likewise),
        ``requests`` (int64, logged, both windows).
    attributes : pandas.DataFrame
        One row an attribute, index ``attribute``, in the same order. Columns ``mix`` (float64, share of requests that would have to move
        for the mixes to agree: total variation), ``mix_z``, ``metric_z`` (float64, the largest of its values, absolute; NaN where none),
        ``loudest`` (float64), ``loud`` (bool, beyond `LOUD`).
    """

    metric: Metric
    rows: pd.DataFrame
    attributes: pd.DataFrame

    @property
    def sentence(self) -> str:
        """How many attributes stand out."""
        loud = int(self.attributes["loud"].sum())
        if not loud:
            return f"None of {len(self.attributes)} request attributes differs beyond chance."
        named = ", ".join(self.attributes.index[:_NAMED]) + (f" and {loud - _NAMED} more" if loud > _NAMED else "")
        if loud <= _NAMED:
            named = ", ".join(self.attributes.index[:loud])
        return f"{loud} of {len(self.attributes)} request attributes {'differs' if loud == 1 else 'differ'} beyond chance: {named}."


def different(
    workbench: Workbench, metric: Metric, baseline: Window, incident: Window, *, where: Filter | None = None, most: int = 8_000
) -> Different:
    """Compare every request attribute between two windows; of a quantile of latency, by the share of requests above that of the baseline.

    Raises
    ------
    WindowError, CannotSayError, MissingColumnError, FilterError
    """
    check_windows(baseline, incident, workbench.snapshot.window())
    sample = read(workbench.snapshot, baseline, incident, where=where, most=most)
    if metric.kind == "quantile":
        slow = slow_of(sample)
        return compare(sample, slow.share(metric), slow.parts)
    settings = workbench.workspace.settings
    success = Success(settings.positive_events, settings.attribution_time_s)
    return compare(sample, metric, per_request(metric, sample.batch, items=sample.items, success=success.of(sample)))


def compare(sample: Sample, metric: Metric, parts: PerRequest) -> Different:
    """As `different`, of a sample whose metric is known."""
    overall = _change(sample, metric, parts, np.ones(len(sample), dtype=np.bool_))
    rows = [row for attribute in _attributes(sample) for row in _of(sample, metric, parts, attribute, overall)]
    frame = pd.DataFrame(rows, columns=_NAMES)
    grouped = frame.assign(
        gap=(frame["share_after"] - frame["share_before"]).abs() / 2, s=frame["share_z"].abs(), c=frame["change_z"].abs()
    )
    summed = grouped.groupby("attribute", sort=False).agg(mix=("gap", "sum"), mix_z=("s", "max"), metric_z=("c", "max"))
    summed["loudest"] = summed[["mix_z", "metric_z"]].max(axis=1)
    summed["loud"] = summed["loudest"] > LOUD
    summed = summed.sort_values("loudest", ascending=False, kind="stable")
    place = frame["attribute"].map({name: n for n, name in enumerate(summed.index)})
    ordered = frame.assign(place=place).sort_values(["place", "share_before"], ascending=[True, False], kind="stable")
    return Different(metric, ordered.drop(columns="place").reset_index(drop=True), summed)


def _attributes(sample: Sample) -> list[Attribute]:
    """Those that slices are made of, and the circumstances of serving."""
    found = list(sample.attributes)
    for name in _CIRCUMSTANCES:
        codes, levels = sample.words(name)
        if (codes < 0).any() and (codes >= 0).any():
            codes, levels = np.where(codes < 0, len(levels), codes), (*levels, None)
        if len(levels) > 1:
            found.append(Attribute(name, codes, levels))
    return found


def _of(
    sample: Sample, metric: Metric, parts: PerRequest, attribute: Attribute, overall: tuple[float, float, float, float]
) -> list[tuple[object, ...]]:
    weight = np.bincount(attribute.codes, weights=sample.weight, minlength=len(attribute.levels))
    held = np.flatnonzero(weight > 0)
    order = held[np.argsort(-weight[held], kind="stable")]
    shown = order if len(order) <= _LEVELS else order[: _LEVELS - 1]
    groups = [(NONE if attribute.levels[i] is None else str(attribute.levels[i]), attribute.codes == i) for i in shown]
    if len(shown) < len(order):
        groups.append((OTHER, ~np.isin(attribute.codes, shown)))
    return [_row(sample, metric, parts, attribute.name, name, hit, overall) for name, hit in groups]


def _row(
    sample: Sample, metric: Metric, parts: PerRequest, attribute: str, value: str, hit: Mask, overall: tuple[float, float, float, float]
) -> tuple[object, ...]:
    shares = []
    for window in (~sample.incident, sample.incident):
        share = estimate.mean(hit[window].astype(np.float64), sample.keep[window], of="process", clusters=sample.members[window])
        shares.append(share)
    gap = estimate.difference(shares[1], shares[0])
    before, after, change, se = _change(sample, metric, parts, hit)
    beyond = change - overall[2]
    z = beyond / se if np.isfinite(se) and se > 0 else np.nan
    share_z = gap.value / gap.se if gap.se > 0 else 0.0
    return attribute, value, shares[0].value, shares[1].value, share_z, before, after, change, z, int(hit.sum())


def _change(sample: Sample, metric: Metric, parts: PerRequest, hit: Mask) -> tuple[float, float, float, float]:
    """Metric in the baseline and the incident, its change and the standard error of that; NaN where too few requests."""
    found = []
    for window in (~sample.incident, sample.incident):
        rows = hit & window
        if int(rows.sum()) < _FEWEST:
            return np.nan, np.nan, np.nan, np.nan
        try:
            members = sample.members[rows]
            found.append(estimate.ratio(parts.numerator[rows], parts.denominator[rows], sample.keep[rows], of="process", clusters=members))
        except CannotSayError:
            return np.nan, np.nan, np.nan, np.nan
    gap = estimate.difference(found[1], found[0])
    return found[0].value, found[1].value, gap.value, gap.se
