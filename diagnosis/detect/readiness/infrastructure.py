"""Tests for infrastructure (Breck et al. 2017, section IV)."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from diagnosis.detect.readiness.evidence import Answer, Evidence, cannot_tell, holds, listed, missing
from diagnosis.errors import DiagnosisError
from diagnosis.internals.contributions import explain
from diagnosis.reproduce import replay_batch
from diagnosis.reproduce.agreement import EXACT, NOT_REPLAYABLE, SAME_ORDER
from diagnosis.store import Query

_AGREE, _EXPLAINED = 0.99, 5
_CANARY, _LEAST = 0.5, timedelta(hours=1)  # a version has a canary if it has less than half of the traffic for an hour


def reproducible(seen: Evidence) -> Answer:
    """Training is reproducible."""
    told = {name: getattr(seen.bundle, name) for name in ("trained_from", "trained_until", "code_version", "library_versions")}
    absent = [name for name, value in told.items() if not value]
    if absent:
        return missing(f"{seen.named} does not say {listed(absent)}", "write them into model.toml when training")
    return cannot_tell(
        f"{seen.named} says from which data, code and libraries it was trained; nobody trained it twice here",
        "train it again and compare scores",
    )


def specs(seen: Evidence) -> Answer:
    """Model specs are unit tested."""
    golden = seen.workbench.admissions.get((seen.bundle.name, seen.bundle.version))
    said = f"{golden.golden_rows} golden rows scored at admission; " if golden else ""
    return cannot_tell(f"{said}the code that trains is not here", "test it where it lives")


def integrated(seen: Evidence) -> Answer:
    """The pipeline is integration tested: from logged features to scores and ranks, by replay."""
    found = replay_batch(seen.batch, seen.model)
    able = found.verdict != NOT_REPLAYABLE
    good = np.isin(found.verdict, (EXACT, SAME_ORDER))
    weight = seen.batch.weights
    if not able.any():
        return missing("no sampled request can be replayed", "log what the model is given, bit by bit")
    share = float(weight[able & good].sum() / weight[able].sum())
    said = f"{share:.1%} of {int(able.sum()):,} sampled requests give the logged scores and ranks when replayed with {seen.bundle.version}"
    return holds(said) if share >= _AGREE else missing(said, "replay one that differs: `diagnosis replay`")


def validated(seen: Evidence) -> Answer:
    """Model quality is validated before serving."""
    return cannot_tell(
        "the log begins when a version serves; what was compared before is not here",
        "replay the last week with a new version before it serves",
    )


def debuggable(seen: Evidence) -> Answer:
    """The model is debuggable: contributions of single requests add up to their replayed scores."""
    ids = seen.batch.request_ids[:_EXPLAINED]
    made = [explain(seen.workbench, seen.batch.one(request_id)) for request_id in ids]
    off = max(c.residual for c in made)
    if all(c.adds_up for c in made):
        return holds(f"contributions of {len(made)} sampled requests add up to their scores (off by {off:.1g} at most)")
    return missing(f"contributions of a sampled request are off by {off:.1g}", "look at the Request screen, part Model")


def canaried(seen: Evidence) -> Answer:
    """Models are canaried before serving: a new version begins with a part of the traffic."""
    hours = seen.workbench.snapshot.aggregate(by=["model_version"], bucket=_LEAST, query=Query(status="ok"))
    hours = hours[hours["model_version"].notna()]
    hours["share"] = hours["weight"] / hours.groupby("at")["weight"].transform("sum")
    first = hours.groupby("model_version")["at"].min()
    new = [str(v) for v, at in first.items() if at > hours["at"].min()]
    if not new:
        return cannot_tell("no version began to serve within the log", "look again after the next launch of a version")
    suddenly = [v for v in new if hours[hours["model_version"] == v].sort_values("at")["share"].iloc[0] > _CANARY]
    if suddenly:
        return missing(f"{listed(suddenly)} had most of the traffic within an hour", "begin with a small share, and compare")
    return holds(f"{listed(new)} began with a part of the traffic")


def rolled_back(seen: Evidence) -> Answer:
    """Serving models can be rolled back: the version before scores what is asked now."""
    if seen.before is None:
        return missing(f"{seen.named} has no version before it here", "keep the last good version admitted")
    named = f"{seen.before.name} {seen.before.version}"
    try:
        found = replay_batch(seen.batch, seen.workbench.model(seen.before.name, seen.before.version))
    except DiagnosisError as error:
        return missing(f"{named} cannot score today's requests: {error.message}", error.hint)
    scored = np.isfinite(found.logged)
    share = float(np.isfinite(found.replayed[scored]).mean()) if scored.any() else 0.0
    said = f"{named} is admitted and scores {share:.1%} of the candidates of {len(seen.batch):,} sampled requests"
    return holds(said) if share == 1.0 else missing(said, "log what it needs")
