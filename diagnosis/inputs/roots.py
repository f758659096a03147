"""What explains a failure: of features computed from each other the first that broke, of many features of one upstream the upstream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from diagnosis.inputs.contracts import Contract

JOINT = "all numeric features"


def roots_of(frame: pd.DataFrame, contracts: Sequence[Contract], task: str) -> list[str]:
    """The root of each row of `frame` (see `Checks.rows`), empty where it did not fail.

    A failing feature folds under a failing parent, unless it disagrees with its own recipe: then it broke by
    itself. Of the tops that are left, two or more of one upstream, which are at least half of its features that apply to this task,
    fold under that upstream.
    """
    by_name = {c.name: c for c in contracts}
    failed = frame[frame["outcome"] == "failed"]
    broken = set(failed["feature"])
    own = set(failed.loc[failed["check"] == "recomputed", "feature"])
    tops = {name: _climb(name, by_name, broken, own) for name in broken}
    shared = _shared(set(tops.values()) - own - {JOINT}, contracts, task)
    single = {shared.get(top, top) for name, top in tops.items() if name != JOINT}

    def root(name: str) -> str:
        if name == JOINT and len(single) == 1:
            return next(iter(single))
        return shared.get(tops[name], tops[name])

    return [root(name) if outcome == "failed" else "" for name, outcome in zip(frame["feature"], frame["outcome"], strict=True)]


def _climb(name: str, by_name: Mapping[str, Contract], broken: set[str], own: set[str], seen: frozenset[str] = frozenset()) -> str:
    """The first ancestor that broke; the feature itself where none did."""
    contract = by_name.get(name)
    if contract is None or name in own:
        return name
    for parent in contract.parents:
        if parent in broken and parent not in seen and parent != name:
            return _climb(parent, by_name, broken, own, seen | {name})
    return name


def _shared(tops: set[str], contracts: Sequence[Contract], task: str) -> dict[str, str]:
    """The upstream of each top that it shares with enough others."""
    members: dict[str, list[str]] = {}
    for contract in contracts:
        if contract.upstream and contract.applies_to(task) and not contract.parents:
            members.setdefault(contract.upstream, []).append(contract.name)
    upstream_of = {c.name: c.upstream for c in contracts if c.upstream}
    shared: dict[str, str] = {}
    for upstream in sorted(set(upstream_of.values())):
        mine = {top for top in tops if upstream_of.get(top) == upstream}
        raw = members.get(upstream, [])
        if len(mine) > 1 and 2 * len(mine & set(raw)) >= len(raw):
            shared |= dict.fromkeys(mine, f"upstream {upstream}")
    return shared
