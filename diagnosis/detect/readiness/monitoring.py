"""Tests for monitoring (Breck et al. 2017, section V)."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from diagnosis.detect.dependencies import findings
from diagnosis.detect.readiness.evidence import Answer, Evidence, cannot_tell, holds, listed, missing
from diagnosis.detect.readiness.model import moment
from diagnosis.errors import CannotSayError
from diagnosis.estimate import Estimate
from diagnosis.internals.skew import skew
from diagnosis.internals.training_rows import training_rows
from diagnosis.metrics import measure
from diagnosis.reproduce.batch import doubles, replay_batch, scored
from diagnosis.store import Query

_DAY, _WEEK = timedelta(days=1), timedelta(days=7)
_FAILED = 0.001  # of the input checks
_MEASURED = 3000
_SEEN = 0.25  # relative change that must be seen, or nobody can tell
_LATE = 2.0  # of the usual time between two versions


def notified(seen: Evidence) -> Answer:
    """Dependency changes result in notification."""
    if "upstreams" not in seen.workbench.snapshot.tables():
        return missing("the workspace has no table upstreams", "have each upstream write its schema, rows and fresh_until there")
    if not seen.delivers:
        return missing("changes upstream are looked for, and nobody is told", "set [delivery] webhook")
    if not seen.watched:
        return missing("a webhook is set, and detection has never run here", "run `diagnosis detect` every hour")
    found = findings(seen.workbench, seen.window[1])
    return holds(f"detection runs here and tells a webhook; {len(found)} changes in the last day", repeated=True)


def invariants(seen: Evidence) -> Answer:
    """Data invariants hold for inputs."""
    if not seen.contracts:
        return missing("there is no feature contract", "`diagnosis contract infer` drafts contracts from training rows")
    done = seen.checks[seen.checks["outcome"] != "not_applicable"]
    failed = done[done["outcome"] == "failed"]
    said = f"{len(failed)} of {len(done):,} input checks of {seen.checks['feature'].nunique()} features failed on sampled requests"
    if len(failed) <= _FAILED * len(done):
        return holds(said, repeated=True)
    roots = [str(root) for root in failed["root"].value_counts().index]
    return missing(f"{said}: {listed(roots)}", "mend the upstream, or the contract")


def skewed(seen: Evidence) -> Answer:
    """Training and serving are not skewed."""
    found = skew(training_rows(seen.bundle), seen.workbench.snapshot)
    if not len(found.differing):
        return holds(found.sentence.rstrip("."))
    return missing(found.sentence.rstrip("."), "train from logged features")


def stale(seen: Evidence) -> Answer:
    """Models are not too stale."""
    until = moment(seen.bundle.trained_until or seen.bundle.trained_at)
    if until is None:
        return missing(f"{seen.named} does not say when it was trained", "write trained_until into model.toml")
    age = (seen.window[1].replace(tzinfo=None) - until) / _DAY
    mine = [b for b in seen.workbench.bundles if b.name == seen.bundle.name]
    times = sorted(t for t in (moment(b.trained_until or b.trained_at) for b in mine) if t is not None)
    said = f"{seen.named} knows nothing of the last {age:.0f} days"
    if len(times) < 2:
        return cannot_tell(f"{said}; one version is no rhythm", "add the versions before")
    usual = float(np.median(np.diff(np.array(times, dtype="datetime64[us]")) / np.timedelta64(86400, "s")))
    said += f"; versions are {usual:.0f} days apart"
    return holds(said) if age <= _LATE * max(usual, 1.0) else missing(said, "train again, or say why not")


def stable(seen: Evidence) -> Answer:
    """Models are numerically stable: no score is missing, NaN or infinite, logged or replayed."""
    logged, given = doubles(seen.batch.candidates, "score"), scored(seen.batch.candidates)
    replayed = replay_batch(seen.batch, seen.model).replayed
    bad = int((~np.isfinite(logged[given])).sum() + (~np.isfinite(replayed[given])).sum())
    said = f"{bad} of {2 * int(given.sum()):,} logged and replayed scores are NaN or infinite"
    return holds(said) if not bad else missing(said, "find the inputs that cause them")


def performance(seen: Evidence) -> Answer:
    """Computing performance has not regressed."""
    return _regressed(seen, "latency_p95", "latency_p95", 1.0, timedelta(0))


def quality(seen: Evidence) -> Answer:
    """Prediction quality has not regressed on served data."""
    return _regressed(
        seen,
        "ctr",
        "the share of shown candidates that were chosen",
        -1.0,
        timedelta(seconds=seen.workbench.workspace.settings.attribution_time_s),
    )


def _regressed(seen: Evidence, metric: str, named: str, worse: float, wait: timedelta) -> Answer:
    """The last day against the week before, the same for all tasks; `worse` is 1 where more is worse."""
    until = seen.window[1] - wait
    now, before = (_measured(seen, metric, since, end) for since, end in ((until - _DAY, until), (until - _DAY - _WEEK, until - _DAY)))
    said = f"{named} is {_told(now)} in the last day, {_told(before)} in the week before"
    if (worse > 0 and now.low > before.high) or (worse < 0 and now.high < before.low):
        return missing(said, "`diagnosis localize` finds the cause")
    if now.high - now.low > 2 * _SEEN * abs(before.value):
        return cannot_tell(f"{said}: a change by a quarter would not be seen", "log more requests")
    return holds(said, repeated=True)


def _measured(seen: Evidence, name: str, since: datetime, until: datetime) -> Estimate:
    batch = seen.workbench.snapshot.sample(_MEASURED, query=Query(since=since, until=until), thinned=True)
    if len(batch) < 30:
        raise CannotSayError(f"Only {len(batch)} requests are logged in a day or the week before it.")
    settings = seen.workbench.workspace.settings
    return measure(
        seen.workbench.metric(name), batch, positive=settings.positive_events, attribution_s=settings.attribution_time_s, of="process"
    )


def _told(found: Estimate) -> str:
    return f"{found.value:.3g} ({found.low:.3g} to {found.high:.3g})"
