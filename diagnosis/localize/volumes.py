"""What the sample stands for, against what was counted before sampling: keep probabilities that were logged wrongly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from diagnosis.localize.judge import Judge
from diagnosis.localize.sample import Floats, Sample
from diagnosis.localize.suspects import Evidence, Suspect
from diagnosis.store import Snapshot

_LOUD = 6.0
_OFF = 0.05  # relative
_HOUR = 3600


def audited(sample: Sample, judge: Judge, snapshot: Snapshot) -> tuple[list[Suspect], Sample]:
    """Strata for which the weights of the log do not give what `volumes` counted; and the sample with the weights that would."""
    if "volumes" not in snapshot.tables() or "stratum" not in sample.batch.requests.column_names:
        return [], sample
    volumes = snapshot.table("volumes")
    if not {"hour", "stratum", "seen"} <= set(volumes.columns):
        return [], sample
    hours = (
        pd.DatetimeIndex(pd.to_datetime(volumes["hour"], utc=True)).tz_convert(None).to_numpy().astype("datetime64[s]").astype(np.int64)
    ) // _HOUR
    codes, names = sample.words("stratum")
    hour = (sample.time // _HOUR).astype(np.int64)
    found, keep = [], sample.keep.copy()
    for code, name in enumerate(names):
        mine = codes == code
        listed = (volumes["stratum"].astype(str) == str(name)).to_numpy()
        before = _ratio(sample, mine & ~sample.incident, hour, hours[listed], volumes["seen"].to_numpy(dtype=np.float64)[listed])
        after = _ratio(sample, mine & sample.incident, hour, hours[listed], volumes["seen"].to_numpy(dtype=np.float64)[listed])
        if before is None or after is None:
            continue
        z = (np.log(after[0]) - np.log(before[0])) / np.hypot(before[1], after[1])
        if abs(z) > _LOUD and abs(after[0] / before[0] - 1) > _OFF:
            keep[mine & sample.incident] *= after[0] / before[0]
            found.append(_suspect(sample, judge, str(name), mine, hour, hours[listed], before[0], after[0], float(abs(z))))
    return found, replace(sample, keep=keep) if found else sample


def _ratio(sample: Sample, rows: np.ndarray, hour: np.ndarray, hours: np.ndarray, seen: Floats) -> tuple[float, float] | None:
    """Estimated over counted requests of whole hours, and the standard error of its logarithm."""
    window = sample.incident if (rows & sample.incident).any() else ~sample.incident
    first, last = hour[window].min() + 1, hour[window].max() - 1  # the hours at the edges may be cut
    inside = rows & (hour >= first) & (hour <= last)
    counted = float(seen[(hours >= first) & (hours <= last)].sum())
    if counted <= 0 or inside.sum() < 30:
        return None
    p = sample.keep[inside]
    estimated = float((1 / p).sum())
    return estimated / counted, float(np.sqrt(((1 - p) / p**2).sum()) / estimated + 1e-4)


def _suspect(
    sample: Sample,
    judge: Judge,
    name: str,
    mine: np.ndarray,
    hour: np.ndarray,
    hours: np.ndarray,
    before: float,
    after: float,
    z: float,
) -> Suspect:
    hit = mine & sample.incident
    since = float(sample.time[hit].min())
    parts, now = judge.logged(sample), sample.incident
    corrected = np.where(hit, sample.weight * before / after, sample.weight)
    rates = []
    for w in (sample.weight, corrected):
        rates.append(float((w * parts.numerator)[now].sum() / (w * parts.denominator)[now].sum()))
    text = f"the weights of stratum {name} stand for {before:.2f} of the requests counted before, {after:.2f} after"
    effect = rates[0] - rates[1]
    return Suspect(
        "logging",
        name,
        {"stratum": [name]},
        hit,
        since,
        z,
        None,
        (Evidence("volume", text),),
        (effect, abs(effect) / max(z, 1.0)),
        proof="statistical",
    )
