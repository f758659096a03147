"""Suspects that the log names: another model version, another ruleset, another status, an order upside down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnosis.localize.columns import Columns, score
from diagnosis.localize.sample import Floats, Ints, Mask, Sample
from diagnosis.localize.stage import OK, Stage, World
from diagnosis.localize.suspects import Evidence, Repair, Suspect
from diagnosis.localize.where import MEMBERS, apart, jump, onset, shown_by, slice_of
from diagnosis.rules import Rule, Ruleset

_LOUD = 6.0  # standard errors in the place where it is seen
_HINT = 4.0  # and in the best place that one attribute names
_SIZE = 0.005
_NEW = 0.1  # share of the hits that the baseline must not have had


@dataclass(frozen=True, eq=False)
class Seen:
    """Where something became more frequent, since when, the requests that show it, and the share of them that is new."""

    z: float
    where: dict[str, list[Any]]
    since: float
    hit: Mask
    excess: float


def seen_more(share: Mask, sample: Sample) -> Seen | None:
    """Where something became more frequent; None if nowhere."""
    stands = jump(share.astype(np.float64), sample)
    if stands.z < _HINT or stands.size < _SIZE:
        return None
    rows = np.flatnonzero(sample.incident)
    before = ~sample.incident
    where = slice_of(share, sample, rows, float(share[before].mean()) if before.any() else 0.0)
    inside = sample.inside(where)
    z = max(stands.z, apart(share, sample, inside).z)
    if z < _LOUD:
        return None
    since = onset(share, sample, np.flatnonzero(inside))
    hit = share & sample.incident & inside & (sample.time >= since - 1e-6)
    if not hit.any() or shown_by(share, sample, np.flatnonzero(hit)) < MEMBERS:
        return None
    usual = float(share[~sample.incident & inside].mean()) if (~sample.incident & inside).any() else 0.0
    excess = 1.0 - usual / float(share[sample.incident & inside].mean())
    return Seen(z, where, since, hit, excess) if excess > _NEW else None


def usual_code(codes: Ints, sample: Sample, size: int) -> Ints:
    """For every request, the code that requests of its task had most often in the baseline; -1 where none had one."""
    tasks = np.where(sample.words("task")[0] < 0, 0, sample.words("task")[0])
    before = ~sample.incident & (codes >= 0)
    n = int(tasks.max(initial=0)) + 1
    table = np.bincount(tasks[before] * size + codes[before], minlength=n * size).reshape(n, size)
    usual = np.where(table.sum(axis=1) > 0, table.argmax(axis=1), table.sum(axis=0).argmax() if table.sum() else -1)
    return np.asarray(usual[tasks], dtype=np.int64)


def share_in(mask: Mask, sample: Sample, where: Mapping[str, list[Any]]) -> str:
    """Share of requests before and after, in words."""
    inside = sample.inside(dict(where))
    before, after = (sample.mean(mask, inside & side) for side in (~sample.incident, sample.incident))
    return f"{before:.1%} of requests before, {after:.1%} after"


def model_suspects(stage: Stage, world: World) -> list[Suspect]:
    """Model versions that score more requests than they did; the target is the version, after the model's name where two models have it."""
    sample, made = stage.sample, []
    scored = _scored_by(sample)
    for name, version, mine in scored:
        found = seen_more(mine, sample)
        if found is None:
            continue
        where, hit = found.where, found.hit
        usual = usual_code(np.where(mine, -1, world.model), sample, max(len(stage.models), 1)) if stage.models else None
        repair = None
        if usual is not None and (usual[hit] >= 0).any():
            repair = Repair(model=usual, rescore=hit & (usual >= 0))
        target = version if sum(v == version for _, v, _ in scored) == 1 else f"{name} {version}".strip()
        text = f"model {name or 'of no name'} version {version} scored {share_in(mine, sample, where)}"
        made.append(Suspect("model", target, where, hit, found.since, found.z, repair, (Evidence("version", text),), excess=found.excess))
    return made


def _scored_by(sample: Sample) -> list[tuple[str, str, Mask]]:
    """Every model (empty where it has no name) and version that the log names, and the requests that it scored."""
    (named, names), (codes, versions) = sample.words("model"), sample.words("model_version")
    pairs = sorted({(int(n), int(v)) for n, v in zip(named, codes, strict=True) if v >= 0}, key=lambda pair: (pair[1], pair[0]))
    return [(str(names[n]) if n >= 0 else "", str(versions[v]), (named == n) & (codes == v)) for n, v in pairs]


def status_suspects(stage: Stage, world: World) -> list[Suspect]:
    """Ways of serving, other than by the model, that became more frequent."""
    sample, made = stage.sample, []
    codes, names = sample.words("status")
    for code, name in enumerate(names):
        if name == OK:
            continue
        found = seen_more(codes == code, sample)
        if found is None:
            continue
        where, hit = found.where, found.hit
        usual = usual_code(world.model, sample, max(len(stage.models), 1)) if stage.models else np.full(len(sample), -1)
        rules = usual_code(world.ruleset, sample, max(len(stage.rulesets), 1)) if stage.rulesets else np.full(len(sample), -1)
        model = np.where(world.model >= 0, world.model, usual)
        ruleset = np.where(world.ruleset >= 0, world.ruleset, rules)
        able = hit & (model >= 0) & (ruleset >= 0) & (sample.batch.groups > 0)
        repair = Repair(model=model, ruleset=ruleset, rescore=able, replay=able) if able.any() else None
        text = f"status {name}: {share_in(codes == code, sample, where)}"
        made.append(
            Suspect("serving", str(name), where, hit, found.since, found.z, repair, (Evidence("status", text),), excess=found.excess)
        )
    return made


def ruleset_suspects(stage: Stage, world: World) -> list[Suspect]:
    """Rulesets that rule more requests than they did; the target is the rule that differs, where it is one."""
    sample, made = stage.sample, []
    codes, versions = sample.words("ruleset_version")
    for code, version in enumerate(versions):
        found = seen_more(codes == code, sample)
        if found is None or str(version) not in stage.rulesets:
            continue
        where, hit = found.where, found.hit
        usual = usual_code(np.where(codes == code, -1, world.ruleset), sample, len(stage.rulesets))
        old = [stage.ruleset_keys[i] for i in np.unique(usual[hit]) if i >= 0]
        if not old:
            continue
        rules = differing(stage.rulesets[old[0]], stage.rulesets[str(version)])
        target = rules[0] if len(rules) == 1 else str(version)
        text = (
            f"ruleset {version} ruled {share_in(codes == code, sample, where)}; against {old[0]} it changes {', '.join(rules) or 'nothing'}"
        )
        repair = Repair(ruleset=usual, replay=hit & world.replayed)
        touched = _touched(stage, old[0], str(version), rules, where)
        made.append(Suspect("rules", target, touched, hit, found.since, found.z, repair, (Evidence("version", text),), excess=found.excess))
    return made


def differing(old: Ruleset, new: Ruleset) -> list[str]:
    """Names of the rules that are not the same in both."""
    names = dict.fromkeys([*(r.name for r in old.rules), *(r.name for r in new.rules)])
    found = [n for n in names if old.rule(n) != new.rule(n)]
    return [*found, *(["sort"] if old.sort != new.sort else [])]


def _touched(stage: Stage, old: str, new: str, rules: list[str], where: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The slice, narrowed to the request attributes that the differing rules name themselves."""
    narrowed = dict(where)
    several = [r for n in rules for s in (old, new) if (r := stage.rulesets[s].rule(n)) is not None]
    named = [_named(stage, r) for r in several]
    if named and all(named):
        for name in {k for n in named for k in n}:
            values = [v for n in named for v in n.get(name, [])]
            if all(name in n for n in named) and name not in narrowed:
                narrowed[name] = sorted(set(values), key=str)
    return narrowed


def _named(stage: Stage, rule: Rule) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for clause in rule.where.clauses:
        attribute = stage.sample.attribute(clause.attribute)
        if clause.operator == "=" and attribute is not None:
            found[clause.attribute] = [level for level in attribute.levels if str(level) in [str(v) for v in clause.values]]
    return found


def order_suspects(stage: Stage, world: World) -> list[Suspect]:
    """Requests whose ranks run against their scores."""
    sample = stage.sample
    found = seen_more(world.upside_down, sample)
    if found is None:
        return []
    where, hit = found.where, found.hit
    text = f"ranked from the worst score to the best: {share_in(world.upside_down, sample, where)}"
    repair = Repair(straighten=hit, replay=hit & world.replayed)
    return [Suspect("rules", "sort", where, hit, found.since, found.z, repair, (Evidence("order", text),), excess=found.excess)]


def scores_of(stage: Stage, code: Ints, columns: Columns | None = None) -> Floats:
    """Scores that the models of those codes give to every candidate, of what was logged or of other columns; NaN where there is none."""
    given = stage.columns if columns is None else columns
    out = np.full(len(stage.sample.owner), np.nan)
    for place, model in enumerate(stage.models.values()):
        rows = (code == place)[stage.sample.owner]
        if rows.any():
            out[rows] = score(model, given, stage.sample.batch.groups, rows)[rows]
    return out
