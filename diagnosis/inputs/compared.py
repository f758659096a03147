"""One feature between two windows: how much it differs in each aspect, by how much it usually does, and what to say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnosis import estimate
from diagnosis.errors import CannotSayError
from diagnosis.estimate import Homogeneity
from diagnosis.inputs import distances
from diagnosis.inputs.bins import NumberBins
from diagnosis.inputs.contracts import Contract
from diagnosis.inputs.counting import OFFSET, STATES
from diagnosis.inputs.histograms import Bins, Counts
from diagnosis.inputs.subjects import Subject

Floats = NDArray[np.float64]
DISTANCES = ("total_variation", "jensen_shannon", "psi", "wasserstein")
ASPECTS = ("values", "states", "violations", "constant", "not_sentinel")  # what could change unseen among values that always do
SHARES = ("missing", "nan", "infinite", "sentinel", "never_seen", "constant", "violations", "not_sentinel")
BEYOND = 1.25  # a straight line is not how things go on exactly
RESTLESS = 0.2  # p of a change between the halves of the baseline, from which on it counts as the usual
Share = tuple[float, float, float]  # value, low, high
_NONE = (np.nan, np.nan, np.nan)


@dataclass(frozen=True, eq=False)
class Compared:
    """One feature between two windows.

    Attributes
    ----------
    row : dict
        Columns of `Drift.rows`, but those that need all features; ``any`` is the p of any change of what these items hold.
    shares : dict of str to pair of Share
        Of `SHARES`, in the baseline and the incident.
    labels : list of str
        Of the bins, states first.
    before, after : array of float, shape (bins,)
        Share of each bin; NaN where the window has nothing.
    """

    row: dict[str, Any]
    shares: dict[str, tuple[Share, Share]]
    labels: list[str]
    before: Floats
    after: Floats


def compared(subject: Subject, bins: Bins, before: Counts, after: Counts, effective: float, lag: float) -> Compared:
    """Compare a feature.

    Parameters
    ----------
    effective : float
        How many equally weighted requests the smaller window is worth.
    lag : float
        How far apart the windows are, in distances between the halves of the baseline.
    """
    halves, before, after = before.halves, before.whole_window, after.whole_window
    row: dict[str, Any] = {"feature": subject.name, "source": subject.source, "kind": subject.kind}
    was, now = (_shares(subject, bins, counts, effective) for counts in (before, after))
    shares = {name: (was[name], now[name]) for name in SHARES}
    shares["never_seen"] = ((0.0, 0.0, 0.0), _never_seen(bins, before, after))
    row |= _tested(_tests(subject, bins, before, after), _tests(subject, bins, *halves), lag)
    for name in DISTANCES:
        row |= _distance(name, bins, before.bins, after.bins, effective)
    row["baseline"], row["incident"] = _usual(bins, before), _usual(bins, after)
    found = Compared(row, shares, [*STATES, *bins.labels], _normal(before.bins), _normal(after.bins))
    row["text"] = _words(found)
    return found


def _tests(subject: Subject, bins: Bins, before: Counts, after: Counts) -> dict[str, Homogeneity]:
    """Each of `ASPECTS` between two windows."""
    n = before.bins.shape[1]
    broken = np.isin(np.arange(n), _broken(subject, bins))
    ways = {
        "values": distances.merging(before.bins, after.bins, OFFSET, isinstance(bins, NumberBins)),
        "states": np.eye(OFFSET + 1)[np.minimum(np.arange(n), OFFSET)],
        "violations": np.column_stack([broken, ~broken]).astype(np.float64),
    }
    found = {}
    for name, way in ways.items():
        items = estimate.Crossed(before.items @ way, after.items @ way, (before.squares @ way)[0], (after.squares @ way)[0])
        found[name] = estimate.homogeneity(before.bins @ way, after.bins @ way, items)
    found["constant"] = estimate.homogeneity(_parts(before.same), _parts(after.same))
    found["not_sentinel"] = estimate.homogeneity(_parts(before.aside), _parts(after.aside))
    return found


def _parts(counts: Any) -> Any:
    """Of (all, some): (some, the others); rounding never makes these negative."""
    return np.column_stack([counts[:, 1], np.maximum(counts[:, 0] - counts[:, 1], 0.0)])


def _tested(tests: dict[str, Homogeneity], usual: dict[str, Homogeneity], lag: float) -> dict[str, Any]:
    """Effect and chance of everything that varies at all; `usual` is between the halves of the baseline, `lag` how often as far apart."""
    told = [n for n in ASPECTS if tests[n].p_given_items < 1] or [n for n in ASPECTS[:1] if not np.isnan(tests[n].p)]
    if not told:
        return {"effect": np.nan, "usual": np.nan, "p": np.nan, "any": np.nan}
    allowed = {n: min(lag * usual[n].effect, 1.0) if usual[n].p <= RESTLESS else 0.0 for n in told}
    beyond = [n for n in told if tests[n].effect > BEYOND * allowed[n]]
    largest = max(told, key=lambda n: (tests[n].effect * (n in beyond), tests[n].effect))
    p = min([1.0, *(len(told) * tests[n].p for n in beyond)])
    given = min([1.0, *(len(told) * tests[n].p_given_items for n in told)])
    return {"effect": tests[largest].effect, "usual": allowed[largest], "p": p, "any": given}


def _shares(subject: Subject, bins: Bins, counts: Counts, effective: float) -> dict[str, Share]:
    everything = counts.bins.sum(axis=1)
    number, contract = subject.kind == "number", subject.contract
    found = {"missing": _ratio(counts.bins[:, 0], everything, effective)}
    found["nan"] = _ratio(counts.bins[:, 1], everything, effective) if number else _NONE
    found["infinite"] = _ratio(counts.bins[:, 2] + counts.bins[:, 3], everything, effective) if number else _NONE
    found["sentinel"] = _ratio(counts.bins[:, 4], everything, effective) if contract.sentinel is not None else _NONE
    found["never_seen"] = _NONE
    found["constant"] = _ratio(counts.same[:, 1], counts.same[:, 0], effective) if subject.table == "candidates" else _NONE
    broken = _broken(subject, bins)
    found["violations"] = (
        _ratio(counts.bins[:, broken].sum(axis=1), everything, effective) if contract != Contract(subject.name, subject.source) else _NONE
    )
    found["not_sentinel"] = _ratio(counts.aside[:, 1], counts.aside[:, 0], effective) if contract.sentinel is not None else _NONE
    return found


def _broken(subject: Subject, bins: Bins) -> list[int]:
    """Bins whose values break the contract."""
    contract, found = subject.contract, [2, 3]
    if contract.missing == "never":
        found += [0, 1]
    if contract.sentinel is not None:
        found.append(4)
    if isinstance(bins, NumberBins):
        below = int(np.searchsorted(bins.edges, np.nextafter(contract.min, -np.inf), side="right"))
        above = int(np.searchsorted(bins.edges, contract.max, side="left")) + 1
        return found + [OFFSET + i for i in (*range(below), *range(above, len(bins.edges) + 1))]
    allowed = set(contract.values)
    return found + [OFFSET + i for i, word in enumerate([*bins.words, None]) if allowed and word not in allowed]


def _ratio(part: Any, whole: Any, effective: float) -> Share:
    if not (whole > 0).any():
        return _NONE
    found = estimate.grouped_share(part, whole, effective)
    return found.value, found.low, found.high


def _never_seen(bins: Bins, before: Counts, after: Counts) -> Share:
    was, now = before.bins.sum(axis=0), after.bins.sum(axis=0)
    total = float(now.sum())
    if not total or not (before.whole and after.whole):
        return _NONE
    own = slice(OFFSET, len(now) if isinstance(bins, NumberBins) else len(now) - 1)
    new = float(now[own][was[own] == 0].sum()) + sum(w for word, w in after.words.items() if word not in before.words)
    return new / total, np.nan, np.nan


def _distance(name: str, bins: Bins, before: Any, after: Any, effective: float) -> dict[str, float]:
    nothing = {name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan}
    if name == "wasserstein":
        if not isinstance(bins, NumberBins):
            return nothing
        before, after = before[:, OFFSET:], after[:, OFFSET:]
        scale = distances.spread(before.sum(axis=0), bins.typical)
        if not scale > 0:
            return nothing
        function = distances.wasserstein(bins.typical, scale)
    else:
        function = {
            "total_variation": distances.total_variation,
            "jensen_shannon": distances.jensen_shannon,
            "psi": distances.psi(0.5 / effective),
        }[name]
    try:
        found = estimate.jackknife(function, before, after)
    except CannotSayError:
        return nothing
    most = 1.0 if name in ("total_variation", "jensen_shannon") else np.inf
    return {name: found.value, f"{name}_low": max(found.low, 0.0), f"{name}_high": min(found.high, most)}


def _usual(bins: Bins, counts: Counts) -> float | str | None:
    weights = counts.bins.sum(axis=0)[OFFSET:]
    if not weights.sum() > 0:
        return None
    if isinstance(bins, NumberBins):
        return distances.quantile(weights, bins.typical, 0.5)
    return bins.labels[int(np.argmax(weights))]


def _normal(counts: Any) -> Any:
    weights = counts.sum(axis=0)
    return weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), np.nan)


_SAID = {
    "missing": "missing",
    "nan": "NaN",
    "infinite": "infinite",
    "sentinel": "the sentinel",
    "never_seen": "not in the baseline",
    "constant": "the same for a whole request",
    "violations": "against the contract",
    "not_sentinel": "not the sentinel where it does not apply",
}


def _words(found: Compared) -> str:
    """The changes of shares that stand out of their intervals, and of the usual value."""
    row, said = found.row, []
    for name, (was, now) in found.shares.items():
        gone = now[0] - was[0]
        clear = now[1] > was[2] or now[2] < was[1] if name != "never_seen" else gone > 0
        if clear and abs(gone) >= 5e-4:
            said.append((abs(gone), f"{_SAID[name]} {_percent(was[0])} → {_percent(now[0])}"))
    if row["baseline"] != row["incident"] and None not in (row["baseline"], row["incident"]):
        if row["kind"] == "text":
            said.append((row["total_variation"], f"mostly {row['baseline']} → {row['incident']}"))
        elif row["wasserstein"] > 0.05 or np.isnan(row["wasserstein"]):
            said.append((1.0, f"median {row['baseline']:.4g} → {row['incident']:.4g}"))
    if not said:
        apart = np.abs(np.nan_to_num(found.after - found.before))
        most = int(np.argmax(apart))
        if not apart[most] > 0:
            return "every value as often as before"
        said.append((0.0, f"{found.labels[most]} {_percent(found.before[most])} → {_percent(found.after[most])}"))
    return ", ".join(text for _, text in sorted(said, reverse=True)[:3])


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0995 or share == 0 else f"{share:.2g}" if share < 1e-4 else f"{share:.2%}"
