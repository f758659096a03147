"""Broken features as suspects: symptoms gathered into causes, derived ones under their root, many of one upstream as one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diagnosis.inputs.contracts import Contract
from diagnosis.localize.breaking import broken as break_column
from diagnosis.localize.breaking import long_enough
from diagnosis.localize.columns import Column, Columns
from diagnosis.localize.restore import Restored, restore
from diagnosis.localize.sample import Mask, Sample
from diagnosis.localize.suspects import Evidence, Repair, Suspect
from diagnosis.localize.symptoms import HARD, INCONSISTENT, MOVED, UNTOLD, Items, Symptom, ages, per_request, rank_bins, symptoms, unlikely
from diagnosis.localize.telling import Untold
from diagnosis.localize.where import MEMBERS, Jump, abrupt, apart, daily_spread, jump, onset, shown_by, slice_of

_LOUD = 7.0  # standard errors; the scan looks at a few hundred slices, and requests of a day hang together
_SIZE = 0.02
_DAILY = 3.0  # daily standard deviations of the baseline that a symptom must exceed
_PLACES = 3
_SOFT = 0.2  # excess share of candidates, within the slice, below which disagreement with other features is drift
_MOST_MOVED, _WHOLE = 0.4, 2.0  # excess share from which values lie elsewhere; how many times more of them than another symptom shows
_FEWEST = 100  # requests of the baseline's slice in which a feature can be broken
_SCREENED, _SUSPICIOUS = 500, 4.0  # requests of each window on which features are set against each other first, and what is worth more
_GLANCED, _HINT = 4000, 3.0  # requests of each window on which symptoms are looked for first, and the standard errors that are a hint
_DILUTED = 0.25  # of the excess in a slice of several attributes that is left in the values of one
_BUT_MOVED = frozenset((*HARD, INCONSISTENT))
_SAME = 0.7  # Jaccard index of hit requests above which features are taken to fail together


@dataclass(frozen=True, eq=False)
class Broken:
    """One feature that shows a symptom: what, where, since when."""

    symptom: Symptom
    where: Mapping[str, list[Any]]
    hit: Mask  # requests
    rows: Mask  # candidates to be put back
    since: float
    z: float


def _at_once(broken: Broken, columns: Columns, sample: Sample) -> bool:
    """Whether values that lie elsewhere went there at once: ages and counters wander day by day."""
    places = rank_bins(columns[broken.symptom.source])
    if places is None:
        return False
    mean = per_request(np.maximum(places, 0).astype(np.float64), sample)
    rows = sample.inside(dict(broken.where))
    rises = mean[broken.hit].mean() > mean[rows & ~sample.incident].mean() if (rows & ~sample.incident).any() else True
    return abrupt(mean if rises else -mean, sample, rows, broken.since)


def broken_features(sample: Sample, found: Iterable[Symptom]) -> list[Broken]:
    """Symptoms that stand out against the baseline; of several that hit the same requests through one feature, the most telling."""
    best: dict[str, list[Broken]] = {}
    for symptom in found:
        best.setdefault(symptom.source, []).extend(_places(symptom, sample))
    return [b for several in best.values() for b in _apart(several)]


def _places(symptom: Symptom, sample: Sample) -> list[Broken]:
    """Where a symptom stands out: the place where it does most, then among the requests that are left."""
    share, made = per_request(symptom.rows, sample), []
    for _ in range(_PLACES):
        stands = jump(share, sample)
        if stands.z < _SUSPICIOUS or stands.size < 0.5 * _SIZE:
            break
        broken = _place(symptom, share, sample, stands)
        if broken is None:
            break
        inside = sample.inside(dict(broken.where))
        gain = (
            share[sample.incident & inside].mean() - share[~sample.incident & inside].mean() if (~sample.incident & inside).any() else 1.0
        )
        least = _MOST_MOVED if symptom.kind == MOVED else _SOFT if symptom.kind not in HARD else 0.0
        if gain > least and gain > _DAILY * daily_spread(np.where(inside, share, 0.0), sample) / max(
            float(inside[~sample.incident].mean()), 0.01
        ):
            made.append(broken)
        share = np.where(inside & sample.incident, 0.0, share)
    return made


def _apart(several: Sequence[Broken]) -> list[Broken]:
    """One of those that hit the same requests; hard symptoms before soft ones, then what covers most."""
    left, kept = list(several), []
    while left:
        chosen = _loudest(left)
        kept.append(chosen)
        left = [b for b in left if b is not chosen and (b.hit & chosen.hit).sum() < 0.3 * min(b.hit.sum(), chosen.hit.sum())]
    return kept


def _loudest(several: Sequence[Broken]) -> Broken:
    hard = [b for b in several if b.symptom.kind in HARD] or list(several)
    shown = max(int(b.rows.sum()) for b in hard)
    whole = [b for b in several if b.symptom.kind == MOVED and b.rows.sum() > _WHOLE * shown]
    if whole:
        return max(whole, key=lambda b: b.z)
    most = max(int(b.rows.sum()) for b in hard)
    told = [b for b in hard if b.rows.sum() >= 0.8 * most]
    return max(told, key=lambda b: (-HARD.index(b.symptom.kind) if b.symptom.kind in HARD else -99, b.z))


def _place(symptom: Symptom, share: np.ndarray, sample: Sample, stands: Jump) -> Broken | None:
    before = ~sample.incident
    usual = float(np.quantile(share[before], 0.99)) if before.any() else 0.0
    seen = share > max(usual, 0.0) + (0.0 if usual == 0 else 1e-9)
    rows = np.flatnonzero(sample.incident)
    if seen[rows].mean() < 0.001:
        seen = share > float(np.quantile(share[before], 0.9))
    rate = float(seen[before].mean())
    where = slice_of(seen, sample, rows, rate)
    inside = sample.inside(dict(where))
    near = apart(share, sample, inside)
    z = max(stands.z, near.z)
    if z < _LOUD or max(stands.size, near.size) < _SIZE or not (seen & inside & sample.incident).any():
        return None
    since = onset(seen, sample, np.flatnonzero(inside))
    hit = sample.incident & inside & (sample.time >= since - 1e-6) & seen
    after = sample.incident & inside & (sample.time >= since - 1e-6)
    if shown_by(share, sample, np.flatnonzero(after)) < MEMBERS:
        return None
    if seen[after].mean() > 0.8:
        hit = after  # nearly all of the slice: those that do not show it are hit as well
    flagged = share[hit].mean()
    mine = hit[sample.owner]
    soft = symptom.kind not in HARD
    candidates = mine if (soft or flagged > 0.8) else mine & symptom.rows
    return Broken(symptom, where, hit, candidates, since, z)


def feature_suspects(
    sample: Sample,
    columns: Columns,
    contracts: Mapping[str, Contract],
    used: set[str],
    *,
    deep: bool = False,
    known: Collection[str] = (),
    silent: Sequence[Untold] = (),
) -> list[Suspect]:
    """Suspects among the features.

    Parameters
    ----------
    contracts : mapping of source to Contract
    used : set of str
        Sources that a model is given; others matter only as parents of those.
    deep : bool
        Look only at whether values agree with the other features, which takes seconds.
    known : collection of str
        Features that are suspects already.
    silent : sequence of Untold
        Features that outcomes no longer follow.
    """
    items = Items.of(sample, columns)
    loud = None if deep or len(sample) <= 2 * _GLANCED else _glance(sample, columns, contracts)
    if deep:
        found = _disagreeing(sample, columns, [s for s in columns.by_source if s in used and s.partition(".")[2] not in known])
    else:
        found = broken_features(sample, (of_known(s, items, sample) for s in symptoms(sample, columns, contracts, items, loud)))
        wandered = [b.symptom.source for b in found if b.symptom.kind == MOVED and not _at_once(b, columns, sample)]
        left = {s: _BUT_MOVED if loud is None else loud[s] - {MOVED} for s in wandered}
        other = (of_known(s, items, sample) for s in symptoms(sample, columns, contracts, items, left))
        found = [b for b in found if b.symptom.source not in wandered] + broken_features(sample, other)
    found += _also(sample, silent, found)
    return [_suspect(sample, columns, contracts, group, items, found) for group in _together(found)]


def _also(sample: Sample, silent: Sequence[Untold], found: Sequence[Broken]) -> list[Broken]:
    """Features that outcomes no longer follow and that show nothing else."""
    made = []
    for told in silent:
        if told.source in {b.symptom.source for b in found}:
            continue
        hit = sample.incident & sample.inside(dict(told.where)) & (sample.time >= told.since - 1e-6)
        if hit.any():
            rows = hit[sample.owner]
            made.append(Broken(Symptom(told.source, UNTOLD, rows, told.text), told.where, hit, rows, told.since, told.z))
    return made


def _glance(sample: Sample, columns: Columns, contracts: Mapping[str, Contract]) -> dict[str, set[str]]:
    """Symptoms that features show at all on some of the requests, by feature: the others need no closer look."""
    part, cut = _part(sample, columns, _GLANCED, seed=4)
    seen: dict[str, set[str]] = {}
    for symptom in symptoms(part, cut, contracts, Items.of(part, cut)):
        stands = jump(per_request(symptom.rows, part), part)
        least = _MOST_MOVED if symptom.kind == MOVED else _SOFT if symptom.kind not in HARD else 0.0
        if stands.z > _HINT and stands.size > 0.5 * _SIZE and stands.largest > _DILUTED * least:
            seen.setdefault(symptom.source, set()).add(symptom.kind)
    return seen


def of_known(symptom: Symptom, items: Items, sample: Sample) -> Symptom:
    """A symptom of items that the baseline had as well: new items lack what old ones have, and nothing is broken."""
    before = ~sample.incident[sample.owner]
    known = np.zeros(int(items.item.max(initial=-1)) + 1, dtype=np.bool_)
    known[items.item[before]] = True
    return replace(symptom, rows=symptom.rows & known[items.item])


def _disagreeing(sample: Sample, columns: Columns, sources: list[str]) -> list[Broken]:
    """Features that the others do not promise: screened on some requests, then placed on all."""
    part, cut = _part(sample, columns, _SCREENED, seed=1)
    seen = Items.of(part)
    loud = {}
    for symptom in (of_known(s, seen, part) for s in unlikely(part, cut, sources)):
        stands = jump(per_request(symptom.rows, part), part)
        if stands.z > _SUSPICIOUS and stands.size > 0.5 * _SIZE:
            loud[symptom.source] = stands.z
    close = sorted(loud, key=lambda source: -loud[source])[:2]
    whole, every = _part(sample, columns, _GLANCED, seed=4), Items.of(sample)
    sure = {
        b.symptom.source for b in broken_features(whole[0], (of_known(s, Items.of(whole[0]), whole[0]) for s in unlikely(*whole, close)))
    }
    return broken_features(sample, (of_known(s, every, sample) for s in unlikely(sample, columns, sorted(sure))))


def _part(sample: Sample, columns: Columns, most: int, seed: int) -> tuple[Sample, Columns]:
    """At most so many requests of each window, with what symptoms look at, and their features."""
    rows = sample.some_of_each(most, seed)
    kept = np.zeros(len(sample), dtype=np.bool_)
    kept[rows] = True
    return sample.lean.take(rows), columns.take(kept[sample.owner])


def _together(found: Sequence[Broken]) -> list[list[Broken]]:
    """Features that fail for the same requests."""
    groups: list[list[Broken]] = []
    for broken in sorted(found, key=lambda b: -int(b.hit.sum())):
        for group in groups:
            both, either = (broken.hit & group[0].hit).sum(), (broken.hit | group[0].hit).sum()
            if either and both / either > _SAME:
                group.append(broken)
                break
        else:
            groups.append([broken])
    return groups


def _suspect(
    sample: Sample,
    columns: Columns,
    contracts: Mapping[str, Contract],
    group: Sequence[Broken],
    items: Items,
    everything: Sequence[Broken],
) -> Suspect:
    sources = [b.symptom.source for b in group]
    roots = _roots(group, contracts)
    upstreams = {contracts[s].upstream for s in roots if s in contracts and contracts[s].upstream}
    main = max((b for b in group if b.symptom.source in roots), key=lambda b: (b.symptom.kind in HARD, b.z))
    target, upstream = main.symptom.source.partition(".")[2], ""
    if len(roots) > 1 and len(upstreams) == 1 and all(s in contracts for s in roots):
        upstream = next(iter(upstreams))
        applied = [c for c in contracts.values() if c.upstream == upstream and not c.parents and c.source in columns]
        if len(roots) >= 0.5 * max(len([c for c in applied if not _derived(c)]), 1):
            target = upstream
    if main.symptom.kind == "missing" and main.symptom.source in contracts:
        target = _outage(main, sources, columns, contracts) or target
    broken = {b.symptom.source for b in everything}
    put = [_put(sample, columns, contracts, b, items, broken) for b in group]
    contract = contracts.get(main.symptom.source)
    hit = np.logical_or.reduce([b.hit for b in group])
    breakable = ~sample.incident & sample.inside(dict(main.where))
    lags = [_lag(sample, b) for b in group]
    breakable = long_enough(sample, breakable, max(lags))
    ill: tuple[Column, ...] = ()
    if breakable.sum() >= _FEWEST and any(
        r.how in ("guessed", "mapped") or b.symptom.kind == "stale" for b, r in zip(group, put, strict=True)
    ):
        ill = tuple(_broken(sample, columns, b, r, breakable, items, lag) for b, r, lag in zip(group, put, lags, strict=True))
    evidence = [Evidence(_kind(b, contracts), _said(b, sample)) for b in group]
    how = ", ".join(dict.fromkeys(f"{r.column.source.partition('.')[2]} {_HOW[r.how]}" for r in put))
    return Suspect(
        "feature",
        target,
        main.where,
        hit,
        main.since,
        max(b.z for b in group),
        Repair(columns=tuple(r.column for r in put), rescore=hit, broken=ill, breakable=breakable if ill else None),
        (*evidence, Evidence("restored", f"Put back for the replay: {how}.")),
        features=tuple(s.partition(".")[2] for s in sources),
        upstream=upstream or (contract.upstream if contract else ""),
        owner=contract.owner if contract else "",
        stale_upstreams=_stale_upstreams(group, contracts),
    )


def _put(
    sample: Sample, columns: Columns, contracts: Mapping[str, Contract], broken: Broken, items: Items, everything: Collection[str]
) -> Restored:
    """The feature of one symptom, put back."""
    source = broken.symptom.source
    ordered = broken.symptom.kind != UNTOLD
    return restore(sample, columns, columns[source], broken.rows, contracts.get(source), items, everything, ordered=ordered)


def _lag(sample: Sample, broken: Broken) -> float:
    """How much older its values are than they were, in seconds; 0 of what is not stale."""
    age = ages(sample, broken.symptom.source) if broken.symptom.kind == "stale" else None
    if age is None:
        return 0.0
    return float(np.nanmedian(age[broken.rows])) - float(np.nanmedian(age[~sample.incident[sample.owner]]))


def _broken(sample: Sample, columns: Columns, broken: Broken, put: Restored, breakable: Mask, items: Items, lag: float) -> Column:
    """The feature of one symptom, broken in the baseline."""
    mine = breakable[sample.owner]
    return break_column(sample, columns[broken.symptom.source], broken.symptom, mine, broken.rows, put.how == "mapped", items, lag)


def _outage(main: Broken, sources: Sequence[str], columns: Columns, contracts: Mapping[str, Contract]) -> str:
    """The upstream, where all of its logged features (not computed from others) are missing together; empty where they are not."""
    upstream = contracts[main.symptom.source].upstream
    fed = [s for s, c in contracts.items() if c.upstream == upstream and s in columns and not _derived(c)]
    return upstream if upstream and fed and set(fed) <= set(sources) else ""


def _stale_upstreams(group: Sequence[Broken], contracts: Mapping[str, Contract]) -> int:
    """How many upstreams the features come from, where the stale ones make up the group; a feature without a contract is its own."""
    stale = [b.symptom.source for b in group if b.symptom.kind == "stale"]
    if 2 * len(stale) < len(group) or not stale:
        return 0
    return len({contracts[s].upstream or s if s in contracts else s for s in stale})


_HOW = {
    "recomputed": "recomputed from its logged parents",
    "entity": "as the same item or member last had it",
    "mapped": "mapped onto the baseline's quantiles",
    "guessed": "as the other features promise it",
}


def _derived(contract: Contract) -> bool:
    return bool(contract.parents)


def _roots(group: Sequence[Broken], contracts: Mapping[str, Contract]) -> list[str]:
    """Of features computed from each other, those that broke first; all when that cannot be told."""
    by_name = {b.symptom.source.partition(".")[2]: b for b in group}
    roots = []
    for broken in group:
        contract = contracts.get(broken.symptom.source)
        parents = [p for p in (contract.parents if contract else ()) if p in by_name]
        if not parents or broken.symptom.kind == "recomputed":
            roots.append(broken.symptom.source)
    return roots or [b.symptom.source for b in group]


def _kind(broken: Broken, contracts: Mapping[str, Contract]) -> str:
    kind = broken.symptom.kind
    return "contract" if kind in ("sentinel", "range", "recomputed") and broken.symptom.source in contracts else kind


def _said(broken: Broken, sample: Sample) -> str:
    """The symptom, and how many candidates show it."""
    if broken.symptom.kind == UNTOLD:
        return broken.symptom.text
    share = per_request(broken.symptom.rows, sample)
    inside = sample.inside(dict(broken.where))
    before, after = (sample.mean(share, inside & side) for side in (~sample.incident, sample.incident))
    return f"{broken.symptom.text} ({before:.1%} of candidates before, {after:.1%} after)"
