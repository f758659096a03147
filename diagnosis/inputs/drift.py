"""Which features differ between two windows, by how much, and whether more than chance would have it.

Every request counts as much as it stands for (``1 / keep_probability``), shared evenly by its candidates, so that a window with longer lists,
or with other requests sampled, is not a drift. Candidates of one request, requests of one member, and all that show the same item depend on each other: chance
is judged by the differences between random groups of members and of items (`diagnosis.estimate.homogeneity`), and corrected for how many
features there are.

Much changes all the time: counters grow, items age, versions roll out. So a feature has drifted when it changed by more than chance, and by
more than it would have by going on as it did between the two halves of the baseline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from diagnosis import estimate
from diagnosis.errors import CannotSayError, DamagedFileError
from diagnosis.estimate import Estimate, Homogeneity
from diagnosis.inputs import distances
from diagnosis.inputs.bins import OFFSET, NumberBins
from diagnosis.inputs.contracts import Contract, read_contracts
from diagnosis.inputs.counting import STATES
from diagnosis.inputs.histograms import Bins, Counts, Window, bins_of, counted, window_of
from diagnosis.inputs.subjects import Aside, Subject, subjects_of
from diagnosis.log.filters import Filter
from diagnosis.store import Query, Snapshot

FEWEST = 30  # requests of a window
DISTANCES = ("total_variation", "jensen_shannon", "psi", "wasserstein")
_TOLD = ("feature", "source", "kind", "moved", "effect", "usual", "p", "q", "changed", "baseline", "incident", "text")
BEYOND = 1.25  # a straight line is not how things go on exactly
RESTLESS = 0.2  # p of a change between the halves of the baseline, from which on it counts as the usual
ASPECTS = ("values", "states", "violations", "constant", "not_sentinel")  # what could change unseen among values that always do
SHARES = ("missing", "nan", "infinite", "sentinel", "never_seen", "constant", "violations", "not_sentinel")
Span = tuple[datetime, datetime]
EVERYTHING = Filter()


@dataclass(frozen=True)
class Side:
    """One of the two windows: half-open, UTC; how many requests are logged, and how many they stand for."""

    since: datetime
    until: datetime
    requests: int
    estimated: Estimate


@dataclass(frozen=True, eq=False)
class Drift:
    """What differs between two windows.

    Attributes
    ----------
    level : float
        Share of the features that are said to have drifted, of which at most so many are false alarms.
    rows : pandas.DataFrame
        One row a feature, index ``feature``: those that moved first, then by effect, the largest first. Columns ``source``, ``kind``
        (``number``, ``text``), ``moved`` (bool: ``q`` is at most `level`), ``effect`` (float64 in [0, 1]: Cohen's w, see
        `estimate.homogeneity`; the largest among that of the values and those of `ASPECTS`), ``usual`` (float64: the effect that going on
        as within the baseline would have given), ``p``, ``q`` (float64, of a change beyond the usual: chance of it if nothing changed, as
        such and corrected over features), ``changed`` (bool: more than chance in what these requests and items hold, usual or not), ``baseline``, ``incident`` (object: median of a number, most frequent text; None = no value), ``text`` (what changed,
        in words), and for each of `DISTANCES` its value and interval (``…``, ``…_low``, ``…_high``; float64): of everything, missing
        values included, but ``wasserstein`` of finite values, in interquartile ranges of the baseline (NaN for text, and where that range
        is 0).
    shares : pandas.DataFrame
        Index ``feature``, ``share`` (one of `SHARES`), columns ``baseline``, ``baseline_low``, ``baseline_high`` and the same of
        ``incident`` (float64 in [0, 1]; NaN = does not apply). Of what the feature is for: ``missing`` (null), ``nan``, ``infinite``,
        ``sentinel``, ``never_seen`` (values that the baseline does not have; without interval), ``violations`` of the contract;
        ``constant``: requests that hold one value for all of at least 5 candidates; ``not_sentinel``: other tasks' values that are not the
        sentinel.
    bins : pandas.DataFrame
        Index ``feature``, ``bin`` (label, the states ``null`` ``nan`` ``inf`` ``-inf`` ``sentinel`` first), columns ``baseline`` and
        ``incident`` (float64, shares).
    aside : tuple of Aside
        Features that are not compared, and why.
    """

    where: Filter
    level: float
    baseline: Side
    incident: Side
    rows: pd.DataFrame
    shares: pd.DataFrame
    bins: pd.DataFrame
    aside: tuple[Aside, ...]

    @property
    def moved(self) -> pd.DataFrame:
        """Features that drifted, the largest effect first."""
        return self.rows[self.rows["moved"]]

    @property
    def verdict(self) -> str:
        """``drift`` or ``no_drift``."""
        return "drift" if len(self.moved) else "no_drift"

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        moved, n = self.moved, len(self.rows)
        wandered = int((self.rows["changed"] & ~self.rows["moved"]).sum())
        usual = f"; {wandered} changed no more than they usually do, or with few items" if wandered else ""
        if moved.empty:
            return f"None of {n} features drifted{usual}."
        return f"{len(moved)} of {n} features drifted, {moved.index[0]} most: {moved['text'].iloc[0]}{usual}."

    def as_json(self) -> dict[str, Any]:
        """The document of ``diagnosis inputs --baseline … --incident … --json``."""
        sides = {name: vars(side) | {"estimated": side.estimated.value} for name, side in self._sides().items()}
        features = []
        for feature, row in self.rows.iterrows():
            plain = {k: row[k] for k in _TOLD[1:]}
            spans = {d: {"value": row[d], "low": row[f"{d}_low"], "high": row[f"{d}_high"]} for d in DISTANCES}
            mine = self.shares.xs(feature, level="feature")
            shares = {str(share): _both(values) for share, values in mine.iterrows() if not values[["baseline", "incident"]].isna().all()}
            bins = self.bins.xs(feature, level="feature").reset_index().to_dict("records")
            features.append({"feature": feature, **plain, "distances": spans, "shares": shares, "bins": bins})
        told = {"where": str(self.where), "level": self.level, **sides, "verdict": self.verdict, "sentence": self.sentence}
        return {**told, "features": features, "not_comparable": [vars(a) for a in self.aside]}

    def _sides(self) -> dict[str, Side]:
        return {"baseline": self.baseline, "incident": self.incident}


def drift(
    snapshot: Snapshot,
    baseline: Span,
    incident: Span,
    *,
    where: Filter = EVERYTHING,
    features: Sequence[str] | None = None,
    contracts: Iterable[Contract] | None = None,
    level: float = 0.05,
) -> Drift:
    """Compare every feature between two windows.

    Parameters
    ----------
    baseline, incident : pair of datetime
        Half-open, with a time zone.
    where : Filter
        Of requests; holds in both windows.
    features : sequence of str, optional
        See `subjects_of`.
    contracts : iterable of Contract, optional
        Those of the workspace when not given.
    level : float
        Share of false discoveries among the features that are said to have drifted.

    Raises
    ------
    ValueError
        If a window ends before it begins, or the windows overlap.
    CannotSayError
        If a window has fewer than 30 requests.
    NotFoundError, FilterError, MissingTableError, ContractError
    """
    _check(baseline, incident)
    known = read_contracts(snapshot.workspace.contracts_file) if contracts is None else tuple(contracts)
    subjects, aside = subjects_of(snapshot, known, features)
    while True:
        windows = [_window(snapshot, span, where, subjects) for span in (baseline, incident)]
        sides = [_side(name, span, w) for name, span, w in zip(("baseline", "incident"), (baseline, incident), windows, strict=True)]
        try:
            bins = bins_of(windows, subjects)
            before, after = (counted(window, subjects, bins) for window in windows)
        except DamagedFileError:
            continue  # without that file
        break
    effective = min(side.estimated.n_effective for side in sides)
    ahead = _middle(incident) - _middle(baseline)
    lag = ahead / ((baseline[1] - baseline[0]) / 2)
    found = [_compared(*given, effective, abs(lag)) for given in zip(subjects, bins, before, after, strict=True)]
    return _assembled(found, aside, where, level, sides)


def _check(baseline: Span, incident: Span) -> None:
    for name, (since, until) in (("baseline", baseline), ("incident", incident)):
        if not (since.tzinfo and until.tzinfo):
            raise ValueError(f"the {name} window has no time zone")
        if since >= until:
            raise ValueError(f"the {name} window ends before it begins: {_at(since)} to {_at(until)}")
    if baseline[0] < incident[1] and incident[0] < baseline[1]:
        raise ValueError(f"the windows overlap between {_at(max(baseline[0], incident[0]))} and {_at(min(baseline[1], incident[1]))}")


def _at(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _middle(window: Span) -> datetime:
    return window[0] + (window[1] - window[0]) / 2


def _window(snapshot: Snapshot, span: Span, where: Filter, subjects: Sequence[Subject]) -> Window:
    there = snapshot.columns("requests")
    wanted = [
        "task",
        "served_at",
        *(["member"] if there.get("member") == "string" else []),
        *(s.column for s in subjects if s.table == "requests"),
    ]
    return window_of(snapshot.scan(Query(where=where, since=span[0], until=span[1]), attributes=wanted), _middle(span))


def _side(name: str, span: Span, window: Window) -> Side:
    n = window.scan.requests.num_rows
    if n < FEWEST:
        few = "no request" if not n else f"only {n} requests" if n > 1 else "only one request"
        raise CannotSayError(f"The {name} window has {few} in the log.", f"choose a window with at least {FEWEST}.")
    return Side(span[0], span[1], n, estimate.count(window.scan.requests.column("keep_probability").to_numpy()))


# --- one feature ------------------------------------------------------------------------------------------------------


def _compared(subject: Subject, bins: Bins, before: Counts, after: Counts, effective: float, lag: float) -> dict[str, Any]:
    halves, before, after = before.halves, before.whole_window, after.whole_window
    row: dict[str, Any] = {"feature": subject.name, "source": subject.source, "kind": subject.kind}
    shares = pd.DataFrame({"baseline": _shares(subject, bins, before, effective), "incident": _shares(subject, bins, after, effective)})
    shares.loc["never_seen", :] = [_share(0.0, 0.0, 0.0), _never_seen(bins, before, after)]
    row |= _tested(_tests(subject, bins, before, after), _tests(subject, bins, *halves), lag)
    for name in DISTANCES:
        row |= _distance(name, bins, before.bins, after.bins, effective)
    row["baseline"], row["incident"] = _usual(bins, before), _usual(bins, after)
    table = pd.DataFrame({"baseline": _normal(before.bins), "incident": _normal(after.bins)}, index=[*STATES, *bins.labels])
    row["text"] = _words(row, shares, table)
    return row | {"shares": shares, "bins": table}


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


def _share(value: float, low: float, high: float) -> tuple[float, float, float]:
    return value, low, high


_NONE = _share(np.nan, np.nan, np.nan)


def _shares(subject: Subject, bins: Bins, counts: Counts, effective: float) -> dict[str, tuple[float, float, float]]:
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


def _ratio(part: Any, whole: Any, effective: float) -> tuple[float, float, float]:
    if not (whole > 0).any():
        return _NONE
    found = estimate.grouped_share(part, whole, effective)
    return _share(found.value, found.low, found.high)


def _never_seen(bins: Bins, before: Counts, after: Counts) -> tuple[float, float, float]:
    was, now = before.bins.sum(axis=0), after.bins.sum(axis=0)
    total = float(now.sum())
    if not total or not (before.whole and after.whole):
        return _NONE
    own = slice(OFFSET, len(now) if isinstance(bins, NumberBins) else len(now) - 1)
    new = float(now[own][was[own] == 0].sum()) + sum(w for word, w in after.words.items() if word not in before.words)
    return _share(new / total, np.nan, np.nan)


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


def _words(row: dict[str, Any], shares: pd.DataFrame, bins: pd.DataFrame) -> str:
    """The changes of shares that stand out of their intervals, and of the usual value."""
    said = []
    for name, (was, now) in shares.iterrows():
        gone = now[0] - was[0]
        apart = now[1] > was[2] or now[2] < was[1] if name != "never_seen" else gone > 0
        if apart and abs(gone) >= 5e-4:
            said.append((abs(gone), f"{_SAID[str(name)]} {_percent(was[0])} → {_percent(now[0])}"))
    if row["baseline"] != row["incident"] and None not in (row["baseline"], row["incident"]):
        if row["kind"] == "text":
            said.append((row["total_variation"], f"mostly {row['baseline']} → {row['incident']}"))
        elif row["wasserstein"] > 0.05 or np.isnan(row["wasserstein"]):
            said.append((1.0, f"median {row['baseline']:.4g} → {row['incident']:.4g}"))
    if not said:
        change = (bins["incident"] - bins["baseline"]).fillna(0.0)
        most = int(np.argmax(change.abs()))
        said.append((0.0, f"{bins.index[most]} {_percent(bins['baseline'].iloc[most])} → {_percent(bins['incident'].iloc[most])}"))
    return ", ".join(text for _, text in sorted(said, reverse=True)[:3])


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0995 or share == 0 else f"{share:.2g}" if share < 1e-4 else f"{share:.2%}"


# --- all features -----------------------------------------------------------------------------------------------------


def _assembled(found: list[dict[str, Any]], aside: list[Aside], where: Filter, level: float, sides: list[Side]) -> Drift:
    ways = [f"{name}{end}" for name in DISTANCES for end in ("", "_low", "_high")]
    told = [row for row in found if not np.isnan(row["p"])]
    nothing = [
        Aside(row["feature"], row["source"], row["kind"], "has no value in one of the windows") for row in found if np.isnan(row["p"])
    ]
    corrected, any_ = (estimate.false_discovery([row[kind] for row in told]) for kind in ("p", "any"))
    for row, q, changed in zip(told, corrected, any_, strict=True):
        row |= {"q": float(q), "moved": bool(q <= level), "changed": bool(changed <= level)}
    told.sort(key=lambda row: (not row["moved"], -row["effect"], row["feature"]))
    rows = pd.DataFrame(told, columns=[*_TOLD, *ways])
    rows = rows.astype({"moved": bool, "changed": bool, "baseline": object, "incident": object}).set_index("feature")
    shares, bins = [], []
    for row in told:
        table = pd.DataFrame(
            {
                f"{side}{end}": [values[i] for values in row["shares"][side]]
                for side in ("baseline", "incident")
                for i, end in enumerate(("", "_low", "_high"))
            },
            index=pd.MultiIndex.from_product([[row["feature"]], row["shares"].index], names=["feature", "share"]),
        )
        shares.append(table)
        bins.append(row["bins"].set_axis(pd.MultiIndex.from_product([[row["feature"]], row["bins"].index], names=["feature", "bin"])))
    both = [pd.concat(frames) if frames else pd.DataFrame() for frames in (shares, bins)]
    return Drift(where, level, sides[0], sides[1], rows, both[0], both[1], (*aside, *nothing))


def _both(values: pd.Series[Any]) -> dict[str, dict[str, float]]:
    return {
        side: {"value": values[side], "low": values[f"{side}_low"], "high": values[f"{side}_high"]} for side in ("baseline", "incident")
    }
