"""Tests for model development (Breck et al. 2017, section III)."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from diagnosis.detect.readiness.concordance import Floats, shown_of
from diagnosis.detect.readiness.evidence import Answer, Evidence, cannot_tell, holds, listed, missing
from diagnosis.errors import CannotSayError
from diagnosis.models import Bundle, encode, read_training
from diagnosis.store import Query

_BIASED = "on shown pages, which favour what made them"
_WORSE = 0.05  # of concordance, below all pages, from which on a slice is not served well enough
_NO_SLICES = frozenset(("status", "fallback", "stratum", "log_schema", "model", "model_version", "ruleset_version", "code_version"))
_MOST_ROWS, _RIDGE = 20_000, 1.0


def reviewed(seen: Evidence) -> Answer:
    """Model specs are reviewed and submitted."""
    served = [str(v) for v in seen.workbench.snapshot.distinct("requests", "model_version")]
    known = {b.version: b for b in seen.workbench.bundles}
    absent = [v for v in served if v not in known]
    if absent:
        return missing(f"{len(absent)} of {len(served)} versions that served are not here: {listed(absent)}", "`diagnosis models add` them")
    without = [v for v in served if not known[v].code_version]
    if without:
        return missing(f"{listed(without)} name no code version", "write code_version into model.toml when training")
    return cannot_tell(
        f"all {len(served)} versions that served are here and name their code version; who reviewed that code is not",
        "require review before merge",
    )


def correlated(seen: Evidence) -> Answer:
    """Offline and online metrics correlate."""
    versions = len({str(v) for v in seen.workbench.snapshot.distinct("requests", "model_version")})
    return cannot_tell(
        f"{versions} version{'s' if versions != 1 else ''} in the log; it takes several with offline metrics and an experiment each",
        "keep the offline metric of every version beside the online one of its experiment",
    )


def tuned(seen: Evidence) -> Answer:
    """All hyperparameters have been tuned."""
    return cannot_tell("a bundle does not say which hyperparameters were tried", "keep the record of the search with the bundle")


def staleness(seen: Evidence) -> Answer:
    """The impact of model staleness is known: the version before orders the same pages."""
    if seen.before is None:
        return cannot_tell(f"{seen.named} has no version before it here", "add the version before, to replay requests with both")
    shown, old = shown_of(seen), seen.workbench.model(seen.before.name, seen.before.version)
    new = shown.concordance(shown.scored(seen.model, shown.given(seen.bundle)))
    lost = shown.mean(new - shown.concordance(shown.scored(old, shown.given(seen.before))))
    days = _days_between(seen.before, seen.bundle)
    when = f"trained {days:.0f} days earlier" if days is not None else "the version before"
    return holds(
        f"{seen.before.version}, {when}, orders {_points(lost.value)} ({_points(lost.low)} to {_points(lost.high)}) less of the pairs right, {_BIASED}"
    )


def _points(share: float) -> str:
    return f"{100 * share:.1f}%"


def _days_between(before: Bundle, after: Bundle) -> float | None:
    times = [moment(b.trained_until or b.trained_at) for b in (before, after)]
    return None if None in times else (times[1] - times[0]).total_seconds() / 86400  # type: ignore[operator]  # neither is None


def moment(text: str) -> datetime | None:
    """An ISO time of a manifest; None where it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=None) if found.tzinfo is None else found.astimezone().replace(tzinfo=None)


def simpler(seen: Evidence) -> Answer:
    """A simpler model is not better: ridge regression on the same training rows."""
    training = read_training(seen.bundle)
    label = seen.bundle.label_of(training.column_names) if training is not None else "label"
    if training is None or label not in training.column_names:
        return cannot_tell(f"{seen.named} has no training rows with labels here", "add training.parquet to the bundle")
    shown = shown_of(seen)
    given = shown.given(seen.bundle)
    rows = pd.DataFrame({name: training.column(name).to_pandas() for name in seen.bundle.names if name in training.column_names})
    if set(seen.bundle.names) - set(rows.columns):
        return cannot_tell("the training rows lack features of the model", "write them with every feature")
    rows["label"] = training.column(label).to_pandas()
    linear = _ridge(seen.bundle, rows.head(_MOST_ROWS), given)
    mine, other = shown.concordance(shown.scored(seen.model, given)), shown.concordance(linear)
    gain, shares = shown.mean(mine - other), [_points(shown.mean(values).value) for values in (mine, other)]
    said = f"{seen.named} orders {shares[0]} of the pairs right, a linear model of its training rows {shares[1]}"
    said += f" (difference {_points(gain.low)} to {_points(gain.high)}), {_BIASED}"
    return holds(said) if gain.low > 0 else missing(said, "serve the simpler model in an experiment")


def _ridge(bundle: Bundle, rows: pd.DataFrame, given: pd.DataFrame) -> Floats:
    """Scores of `given` by a linear model of the training rows; categories by one column each."""
    label = rows["label"].to_numpy(dtype=np.float64)
    held = np.isfinite(label)
    matrices = [_columns(bundle, frame) for frame in (rows[held].reset_index(drop=True), given)]
    middle, scale = np.nanmean(matrices[0], axis=0), np.nanstd(matrices[0], axis=0)
    middle, scale = np.nan_to_num(middle), np.where(np.nan_to_num(scale) > 0, scale, 1.0)
    train, test = (np.nan_to_num((m - middle) / scale) for m in matrices)
    square = train.T @ train + _RIDGE * np.eye(train.shape[1])
    return np.asarray(test @ np.linalg.solve(square, train.T @ (label[held] - label[held].mean())))


def _columns(bundle: Bundle, frame: pd.DataFrame) -> Floats:
    coded = encode(bundle, frame[bundle.names].astype({f.name: object for f in bundle.features if f.dtype == "category"}))
    parts = []
    for place, feature in enumerate(bundle.features):
        column = np.asarray(coded, dtype=np.float64)[:, place]
        parts += [(column == code).astype(np.float64) for code in range(len(feature.categories))] if feature.categories else [column]
    return np.column_stack(parts)


def slices(seen: Evidence) -> Answer:
    """Model quality is sufficient on important data slices."""
    whole = shown_of(seen)
    right = whole.concordance(whole.scored(seen.model, whole.given(seen.bundle)))
    overall = whole.mean(right)
    names = [n for n in seen.workbench.snapshot.few_valued(most=12, query=Query(since=seen.window[0])) if n not in _NO_SLICES]
    judged, worse = 0, []
    for name in names:
        values = np.asarray(seen.batch.requests.column(name).to_pylist(), dtype=object)
        for value in sorted({str(v) for v in values if v is not None}):
            try:
                found = whole.mean(right, values.astype(str) == value)
            except CannotSayError:
                continue
            judged += 1
            if found.high < overall.value - _WORSE:
                worse.append(f"{name}={value} ({found.value:.2f})")
    if not judged:
        return cannot_tell("no slice has enough pages on which members chose something", "log more requests")
    said = f"concordance is {overall.value:.2f} ({overall.low:.2f} to {overall.high:.2f}) on all pages; {judged} slices of {len(names)} attributes judged"
    if worse:
        return missing(f"{said}; more than {_WORSE} below that: {listed(worse)}", "find out why, slice by slice")
    return holds(f"{said}, none more than {_WORSE} below that")


def inclusion(seen: Evidence) -> Answer:
    """The model is tested for considerations of inclusion."""
    return cannot_tell(
        "which groups of members or items must be served alike, the log does not say", "name them, and watch a metric by group"
    )
