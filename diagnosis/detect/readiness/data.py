"""Tests for features and data (Breck et al. 2017, section II)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from diagnosis.detect.readiness.concordance import shown_of
from diagnosis.detect.readiness.evidence import Answer, Evidence, cannot_tell, holds, listed, missing
from diagnosis.inputs import Contract

_AGREE = 0.999


def schema(seen: Evidence) -> Answer:
    """Feature expectations are captured in a schema."""
    names = {c.source: c for c in seen.contracts}
    without = [f.name for f in seen.bundle.features if f.source not in names or not _expects(names[f.source])]
    n = len(seen.bundle.features)
    if not without:
        return holds(f"all {n} features of {seen.named} have a contract that expects something", repeated=True)
    return missing(
        f"{n - len(without)} of {n} features of {seen.named} have a contract that expects something; not {listed(without)}",
        "`diagnosis contract infer` drafts contracts from training rows",
    )


def _expects(contract: Contract) -> bool:
    bounded = contract.min > -math.inf or contract.max < math.inf or bool(contract.values)
    return bounded or contract.missing == "never" or contract.max_age_s < math.inf or bool(contract.recompute)


def beneficial(seen: Evidence) -> Answer:
    """All features are beneficial: the order of shown pages gets worse when one feature's values are shuffled."""
    shown = shown_of(seen)
    given = shown.given(seen.bundle)
    plain = shown.concordance(shown.scored(seen.model, given))
    rng, useless = np.random.default_rng(0), []
    for feature in seen.bundle.features:
        order = rng.permutation(len(given))
        shuffled = given.assign(**{feature.name: given[feature.name].to_numpy()[order]})
        shuffled[feature.name] = shuffled[feature.name].astype(given[feature.name].dtype)
        drop = shown.mean(plain - shown.concordance(shown.scored(seen.model, shuffled)))
        if not drop.low > 0:
            useless.append(feature.name)
    n = len(seen.bundle.features)
    said = f"shuffling costs concordance on {len(shown.batch):,} sampled requests, beyond chance, for {n - len(useless)} of {n} features"
    if not useless:
        return holds(said)
    return missing(f"{said}; not for {listed(useless)}", "train without them and compare, or log more requests to tell")


def cost(seen: Evidence) -> Answer:
    """No feature's cost is too much."""
    return cannot_tell("what a feature costs in time, memory and upkeep is not logged", "measure serving with and without each feature")


def requirements(seen: Evidence) -> Answer:
    """Features adhere to meta-level requirements: each says where it comes from and who owns it."""
    by_source = {c.source: c for c in seen.contracts}
    without = [f.name for f in seen.bundle.features if not _owned(by_source.get(f.source))]
    n = len(seen.bundle.features)
    if not without:
        return holds(f"all {n} features of {seen.named} name an upstream and an owner")
    return missing(
        f"{len(without)} of {n} features name no upstream or no owner: {listed(without)}", "add upstream and owner to their contracts"
    )


def _owned(contract: Contract | None) -> bool:
    return contract is not None and bool(contract.upstream) and bool(contract.owner)


def privacy(seen: Evidence) -> Answer:
    """The data pipeline has appropriate privacy controls: what is visible of them."""
    members = seen.batch.requests.column("member").to_pylist() if "member" in seen.batch.requests.column_names else []
    plain = sum("@" in m for m in members if m is not None)
    days = seen.workbench.workspace.settings.retention.days
    if plain:
        return missing(f"{plain} of {len(members)} sampled member keys look like addresses", "log a pseudonym (a keyed hash) as member")
    if days is None:
        return missing("nothing says how long the log is kept", "set [retention] days, and run `diagnosis collect`, which keeps it")
    return cannot_tell(
        f"no sampled member key looks like an address, the log is kept for {days} days; the pipeline before the log is not seen here",
        "review who may read what, from upstreams to training",
    )


def quickly(seen: Evidence) -> Answer:
    """New features can be added quickly."""
    return cannot_tell("how long a feature takes from idea to serving is not logged", "write down the days of the last three")


def tested(seen: Evidence) -> Answer:
    """All input feature code is tested: features that are computed from others are computed again from the log."""
    derived = [c for c in seen.contracts if c.parents and c.source in {f.source for f in seen.bundle.features}]
    if not derived:
        return cannot_tell("no contract says that a feature is computed from others", "add derived_from and recompute to contracts")
    without = [c.name for c in derived if not c.recompute]
    if without:
        return missing(
            f"{len(without)} of {len(derived)} derived features have no recipe: {listed(without)}", "add recompute to their contracts"
        )
    rows: pd.DataFrame = seen.checks[(seen.checks["check"] == "recomputed") & (seen.checks["outcome"] != "not_applicable")]
    of, failed = int(rows["of"].sum()), int(rows["failed"].sum())
    if not of:
        return cannot_tell("the log lacks what the recipes of derived features need", "log their parents")
    said = f"{1 - failed / of:.2%} of {of:,} logged values of {len(derived)} derived features are what their recipe gives"
    if failed <= (1 - _AGREE) * of:
        return holds(said, repeated=True)
    return missing(said, f"mend {listed(sorted(set(rows.loc[rows['failed'] > 0, 'feature'])))}")
