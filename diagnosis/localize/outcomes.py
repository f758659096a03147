"""Suspects among outcomes: what members did that their pages did not promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.localize.columns import Columns
from diagnosis.localize.itemkinds import item_attributes
from diagnosis.localize.judge import Judge
from diagnosis.localize.relation import PROMISE, Difference, Shown, beyond, difference
from diagnosis.localize.sample import Floats, Mask, Sample
from diagnosis.localize.stage import Stage
from diagnosis.localize.suspects import Evidence, Suspect
from diagnosis.localize.where import turn
from diagnosis.metrics import PerRequest


@dataclass(frozen=True, eq=False)
class Promises:
    """What the model of outcomes expects of every page as it was shown.

    Attributes
    ----------
    chance : array of float64, shape (candidates,)
        0 for what was not shown.
    """

    chance: Floats
    parts: PerRequest


def promises(stage: Stage, judge: Judge, clean: Columns, known: Floats | None = None) -> Promises | None:
    """The expectations; None for metrics that need no outcomes.

    Parameters
    ----------
    known : array of float64, shape (candidates,), optional
        Scores of the baseline's usual model over `clean` that the log tells; NaN where it does not.
    """
    if judge.outcomes is None:
        return None
    position = stage.logged_position
    chance = judge.promised(stage.sample, clean, position.astype(np.float64), known)
    return Promises(chance, judge.worth(stage.sample.batch, stage.sample.items, chance))


def outcome_suspects(
    stage: Stage, judge: Judge, promised: Promises | None, changes: pd.DataFrame, unsure: Mask, *, leaning: bool = False
) -> list[Suspect]:
    """At most one suspect: the slice and the grouping that take up the difference between what happened and what was promised.

    Parameters
    ----------
    changes : pandas.DataFrame
        What somebody did, as in the log table. Fewer outcomes and lost outcomes look alike: a campaign at the onset speaks for demand.
    unsure : array of bool, shape (requests,)
        Requests that are left out: what their pages promised is not known.
    leaning : bool
        Whether the metric as a whole seems to have moved.
    """
    if promised is None:
        return []
    sample, position = stage.sample, stage.logged_position
    seen = (position > 0) & ~unsure[sample.owner]
    observed = judge.success.of(sample).astype(np.float64)
    owner = sample.owner[seen]
    day = (sample.time[owner] // 86400).astype(np.int64)
    shown = Shown(owner, observed[seen], promised.chance[seen], sample.incident[owner], position[seen], day)
    found = difference(
        shown, sample, {name: (codes[seen], levels) for name, (codes, levels) in item_attributes(sample).items()}, leaning=leaning
    )
    logged = judge.logged(sample)
    if found is None:
        rest = rest_of(sample, judge, promised, unsure)
        if rest is None or abs(rest[1]) < _EVERYWHERE or not leaning:
            return []
        found = Difference("", None, "everywhere", "", rest[1] ** 2, rest[0], ())
    made = _suspect(sample, found, logged.numerator - promised.parts.numerator, logged.denominator, changes)
    return [made] if found.kind != "everywhere" or made.component == "demand" or found.factor < _GONE else []


def unsure(suspects: Sequence[Suspect], requests: int) -> Mask:
    """Requests of which nobody knows what their inputs should have been: what their pages promised is not known either."""
    guessed = [s.hit for s in suspects if s.repair is not None and s.repair.broken]
    return np.logical_or.reduce(guessed) if guessed else np.zeros(requests, dtype=np.bool_)


def rest_of(sample: Sample, judge: Judge, promised: Promises | None, unsure: Mask) -> tuple[float, float] | None:
    """What the pages do not explain: observed over promised, relative to the baseline, and its standard errors; None without outcomes."""
    sure = ~unsure
    if promised is None or not (sample.incident & sure).any():
        return None
    w, day = sample.weight[sure], (sample.time[sure] // 86400).astype(np.int64)
    observed, expected = judge.logged(sample).numerator[sure], promised.parts.numerator[sure]
    return beyond(w * observed, w * expected, day, sample.incident[sure])


_TELL = {
    "common": "demand: fewer outcomes and lost outcomes look alike; log impressions from the client, or a heartbeat, to tell",
    "item": "how items are presented; log what was presented (artwork, title, row) to tell",
    "lost": "outcomes lost in logging: both look alike; log impressions from the client, or a heartbeat, to tell",
}
_EVERYWHERE = 3.0  # standard errors by which outcomes must differ from promises where no slice stands out
_GONE = 0.1  # of what was promised, below which no change of demand is thought of
_BEFORE_S, _AFTER_S = 2 * 3600.0, 1800.0  # how long before, and after, the onset a campaign may begin that speaks for demand


def campaign_near(changes: pd.DataFrame, moments: Sequence[float]) -> str:
    """The campaign that began close to one of these times (seconds since 1970); empty where none did."""
    if not len(changes) or "kind" not in changes.columns:
        return ""
    at = (
        pd.DatetimeIndex(pd.to_datetime(changes["changed_at"], utc=True))
        .tz_convert(None)
        .to_numpy()
        .astype("datetime64[us]")
        .astype(np.int64)
        / 1e6
    )
    gap = np.array(moments, dtype=np.float64)[:, None] - at
    close = ((gap > -_AFTER_S) & (gap < _BEFORE_S)).any(axis=0) & (changes["kind"].astype(str) == "campaign").to_numpy()
    return str(changes["target"].to_numpy(dtype=object)[close][0]) if close.any() else ""


def _suspect(sample: Sample, found: Difference, rest: Floats, size: Floats, changes: pd.DataFrame) -> Suspect:
    where: dict[str, list[Any]] = {found.attribute: [found.level]} if found.attribute else {}
    inside = sample.inside(where)
    effect, se = _effect(sample, rest, size, sample.incident & inside)
    since = turn(rest, sample, inside, effect)
    campaign = campaign_near(changes, [since, float(sample.time[sample.incident].min())])
    common = found.kind in ("common", "everywhere")
    component = "logging" if common and found.factor < 1 and not campaign else "demand"
    lost = str(found.level) if found.attribute else "outcomes"
    target = lost if component == "logging" else "position" if found.kind == "position" else "taste"
    levels = ", ".join(f"{value}: {factor:.2f}×" for value, factor in found.levels)
    text = f"outcomes are {found.factor:.2f} of what the pages promised"
    if not common:
        text += f", and it differs by {found.name}" + (f" ({levels})" if levels else "")
    evidence = [Evidence("outcome", text)]
    if campaign and common:
        evidence.append(Evidence("change", f"The campaign {campaign} began then."))
    tell = _TELL.get("lost" if component == "demand" and common else found.kind, "")
    if tell:
        evidence.append(Evidence("confound", f"Cannot be told from {tell}."))
    return Suspect(
        component,
        target,
        where,
        sample.incident & inside & (sample.time >= since - 1e-6),
        since,
        float(np.sqrt(max(found.gain, 0.0))),
        None,
        tuple(evidence),
        (effect, se),
        proof="statistical",
        general=found.kind in ("position", "everywhere") or found.name == PROMISE,
    )


def _effect(sample: Sample, rest: Floats, size: Floats, hit: Mask) -> tuple[float, float]:
    """Weighted outcomes above those promised, over the incident's denominator, less the same in the baseline."""
    now, then = sample.incident, ~sample.incident
    inside = np.zeros(len(sample), dtype=np.bool_)
    inside[hit] = True
    value = float((sample.weight * rest)[inside].sum() / (sample.weight * size)[now].sum())
    usual = float((sample.weight * rest)[then].sum() / max((sample.weight * size)[then].sum(), 1e-12))
    share = float((sample.weight * size)[inside].sum() / (sample.weight * size)[now].sum())
    sums = np.bincount(sample.members[inside], weights=(sample.weight * rest)[inside])
    se = float(np.sqrt((sums**2).sum()) / (sample.weight * size)[now].sum())
    return value - usual * share, se * np.sqrt(2.0)
