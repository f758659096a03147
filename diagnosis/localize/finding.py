"""Everything that is not as it was in the baseline, as suspects."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from diagnosis.localize import composition, mismatch, training, versions
from diagnosis.localize.case import Case
from diagnosis.localize.features import feature_suspects
from diagnosis.localize.judge import SERVICE
from diagnosis.localize.knobs import as_knobs
from diagnosis.localize.result import moment
from diagnosis.localize.stage import Stage
from diagnosis.localize.suspects import Evidence, Lesson, Suspect
from diagnosis.metrics import per_request
from diagnosis.reproduce import Workbench
from diagnosis.reproduce.circumstances import environments


def find_suspects(case: Case) -> tuple[Case, list[Suspect], list[tuple[Suspect, composition.Loan]]]:
    """Everything that is not as it was in the baseline; and the case, whose world knows which scores do not reproduce."""
    stage, world = case.stage, case.world
    suspects = feature_suspects(case.sample, case.features_of(stage.columns), case.contracts, case.used)
    since = moment(float(case.sample.time[case.sample.incident].min()))
    near = case.workbench.snapshot.changes(since - timedelta(days=1), since + timedelta(days=1))
    suspects = as_knobs(suspects, environments(case.workbench), near)
    suspects += [trained(case.workbench, stage, s) for s in versions.model_suspects(stage, world)]
    statuses = versions.status_suspects(stage, world)
    suspects += [counted(case, s) for s in statuses] if case.metric.base in SERVICE else statuses
    suspects += versions.ruleset_suspects(stage, world)
    suspects += versions.order_suspects(stage, world)
    unlike = mismatch.mismatch_suspects(stage, world, suspects)
    suspects = unlike.suspects
    flooded = composition.flood(case.sample)
    drops = flooded or composition.dropped(case.sample)  # what a flood pushes out, no retriever lost
    return replace(case, world=replace(world, off=unlike.off)), suspects, drops


def counted(case: Case, suspect: Suspect) -> Suspect:
    """A status as suspect of a metric that counts statuses: what it adds is known without a replay."""
    sample, parts = case.sample, per_request(case.metric, case.sample.batch, items=case.sample.items)
    now, w = sample.incident, sample.weight
    size = float((w * parts.denominator)[now].sum())
    sums = np.bincount(sample.members[suspect.hit], weights=(w * parts.numerator)[suspect.hit])
    value = suspect.excess * float(sums.sum()) / size if size else 0.0
    return replace(suspect, repair=None, effect=(value, float(np.sqrt((sums**2).sum())) / max(size, 1e-12)), proof="statistical")


def trained(workbench: Workbench, stage: Stage, suspect: Suspect) -> Suspect:
    """A model version as suspect: its training data, where they show why it is another."""
    if suspect.repair is None or suspect.repair.model is None:
        return suspect
    usual = suspect.repair.model[suspect.hit]
    usual = usual[usual >= 0]
    if not len(usual):
        return suspect
    name, version = stage.model_keys[int(np.bincount(usual).argmax())]
    named = [b for b in workbench.bundles if suspect.target in (b.version, f"{b.name} {b.version}")]
    new = min(named, key=lambda b: b.name != name, default=None)  # of two with that version, the one that took over from itself
    if new is None:
        return suspect
    found = training.compare(new, workbench.bundle(name, version))
    if found is None:
        return suspect
    evidence = (*suspect.evidence, Evidence("training", found.text))
    lesson = Lesson(new.name, new.version, found.attribute, found.target)
    return replace(suspect, component="training_data", target=found.target, evidence=evidence, lesson=lesson)
