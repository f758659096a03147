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
from diagnosis.estimate import Estimate
from diagnosis.inputs.compared import DISTANCES, Compared, compared
from diagnosis.inputs.contracts import Contract, read_contracts
from diagnosis.inputs.histograms import Window, bins_of, counted, window_of
from diagnosis.inputs.subjects import Aside, Subject, subjects_of
from diagnosis.log.filters import Filter
from diagnosis.store import Query, Snapshot

FEWEST = 30  # requests of a window
_ENDS = ("", "_low", "_high")
_TOLD = ("feature", "source", "kind", "moved", "effect", "usual", "p", "q", "changed", "baseline", "incident", "text")
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
        `estimate.homogeneity`; the largest among that of the values and those of `compared.ASPECTS`), ``usual`` (float64: the effect that going on
        as within the baseline would have given), ``p``, ``q`` (float64, of a change beyond the usual: chance of it if nothing changed, as
        such and corrected over features), ``changed`` (bool: more than chance in what these requests and items hold, usual or not), ``baseline``, ``incident`` (object: median of a number, most frequent text; None = no value), ``text`` (what changed,
        in words), and for each of `DISTANCES` its value and interval (``…``, ``…_low``, ``…_high``; float64): of everything, missing
        values included, but ``wasserstein`` of finite values, in interquartile ranges of the baseline (NaN for text, and where that range
        is 0).
    shares : pandas.DataFrame
        Index ``feature``, ``share`` (one of `compared.SHARES`), columns ``baseline``, ``baseline_low``, ``baseline_high`` and the same of
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
    found = [compared(*given, effective, abs(lag)) for given in zip(subjects, bins, before, after, strict=True)]
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


def _assembled(found: list[Compared], aside: list[Aside], where: Filter, level: float, sides: list[Side]) -> Drift:
    told, nothing = [], list(aside)
    for one in found:
        if np.isnan(one.row["p"]):
            nothing.append(Aside(one.row["feature"], one.row["source"], one.row["kind"], "has no value in one of the windows"))
        else:
            told.append(one)
    corrected, given = (estimate.false_discovery([one.row[kind] for one in told]) for kind in ("p", "any"))
    for one, q, changed in zip(told, corrected, given, strict=True):
        one.row.update(q=float(q), moved=bool(q <= level), changed=bool(changed <= level))
    told.sort(key=lambda one: (not one.row["moved"], -one.row["effect"], one.row["feature"]))
    ways = [f"{name}{end}" for name in DISTANCES for end in _ENDS]
    rows = pd.DataFrame([one.row for one in told], columns=[*_TOLD, *ways])
    rows = rows.astype({"moved": bool, "changed": bool, "baseline": object, "incident": object}).set_index("feature")
    return Drift(where, level, sides[0], sides[1], rows, _shares(told), _bins(told), tuple(nothing))


def _shares(told: list[Compared]) -> pd.DataFrame:
    values = [[*was, *now] for one in told for was, now in one.shares.values()]
    names = [[one.row["feature"] for one in told for _ in one.shares], [name for one in told for name in one.shares]]
    index = pd.MultiIndex.from_arrays(names, names=["feature", "share"])
    return pd.DataFrame(
        values, index=index, columns=[f"{side}{end}" for side in ("baseline", "incident") for end in _ENDS], dtype=np.float64
    )


def _bins(told: list[Compared]) -> pd.DataFrame:
    names = [[one.row["feature"] for one in told for _ in one.labels], [label for one in told for label in one.labels]]
    nothing = [np.zeros(0)]
    sides = {"baseline": [one.before for one in told] or nothing, "incident": [one.after for one in told] or nothing}
    index = pd.MultiIndex.from_arrays(names, names=["feature", "bin"])
    return pd.DataFrame({side: np.concatenate(parts) for side, parts in sides.items()}, index=index)


def _both(values: pd.Series[Any]) -> dict[str, dict[str, float]]:
    return {
        side: {"value": values[side], "low": values[f"{side}_low"], "high": values[f"{side}_high"]} for side in ("baseline", "incident")
    }
