"""The training rows behind a score: how many, which, and what their labels were."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.estimate import Estimate, ratio
from diagnosis.internals.training_rows import Floats, Taught, TrainingRows

ALIKE = 0.5  # share of what decides a score that a training row must have in common with it
LEAVES, NEAREST = 12, 20
_DAYS = 31  # more than so many days are told by week


@dataclass(frozen=True, eq=False)
class Support:
    """What training held of rows like one.

    Attributes
    ----------
    likeness : array of float64, shape (training rows,)
        In which part of the trees a training row reaches the same leaf as the explained row, trees counted by the spread of their leaf
        values: in [0, 1], 1 = the model cannot tell the two apart.
    leaves : pandas.DataFrame
        The leaves that decide most, index ``tree``: ``leaf``, ``value``, ``pull`` (float64, raw score: the leaf's value less the mean of
        its tree), ``rows``, ``requests`` (training rows there, and their requests), ``weight``, ``label`` (weighted mean label; NaN
        without labels), ``low``, ``high`` (95%), ``first_at``, ``last_at`` (UTC; NaT where not known), ``tasks`` (text).
    groups : pandas.DataFrame
        Rows that are alike, by task and by day or week: ``attribute``, ``value``, ``rows``, ``share``, ``usual`` (share of their weight,
        and of all training rows'), ``label`` and ``usual_label``; the largest share first within an attribute.
    near : pandas.DataFrame
        The training rows that are most alike: ``likeness``, ``label``, ``weight``, what the rows say of ``request_id``, ``item_id``,
        ``task``, ``at``, and the features as they were given.
    label, usual : Estimate or None
        Mean label of the rows that are alike, and of all; None without any.
    rows : int
    requests : int or None
        How many rows are alike, and of how many requests they are; None where the rows do not say.
    """

    item: str
    likeness: Floats
    leaves: pd.DataFrame
    groups: pd.DataFrame
    near: pd.DataFrame
    label: Estimate | None
    usual: Estimate | None
    rows: int
    requests: int | None
    share: bool

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        total = f"{len(self.likeness):,} training rows"
        if not self.rows:
            return f"No one of {total} shares half of what decides the score of {self.item}: the model has learned it from other cases."
        of = f" ({self.requests:,} requests)" if self.requests is not None else ""
        text = f"{self.rows:,} of {total}{of} share at least half of what decides the score of {self.item}"
        if self.label is None or self.usual is None:
            return text + "; their labels are not known."
        said, usual = self._rate(self.label.value), self._rate(self.usual.value)
        return (
            f"{text}; {said} of them positive ({self._rate(self.label.low)} to {self._rate(self.label.high)}), {usual} of all."
            if (self.share)
            else f"{text}; their mean label is {said} ({self._rate(self.label.low)} to {self._rate(self.label.high)}), {usual} of all."
        )

    def _rate(self, value: float) -> str:
        return f"{value:.2%}" if self.share else f"{value:.4g}"


def support(given: Taught, row: Floats, item: str = "") -> Support:
    """The training rows behind the score of one row.

    Two rows are alike as far as they reach the same leaves; a tree counts by the spread of its leaf values (their standard deviation over
    training rows), so by how much it can decide. For forests this is the proximity of Breiman (2001), for boosted trees the weighted
    kernel of their sums.

    Parameters
    ----------
    row : array of float64, shape (features,)
        As `diagnosis.models.encode` makes it.
    """
    reached = given.reached(row[None, :])[0]
    likeness = alike(given, reached)
    rows = given.rows
    near = likeness >= ALIKE
    labelled = ~np.isnan(rows.label)
    return Support(
        item=item,
        likeness=likeness,
        leaves=_leaves(given, reached),
        groups=_groups(rows, near),
        near=_nearest(rows, likeness),
        label=mean_label(rows, near & labelled),
        usual=mean_label(rows, labelled),
        rows=int(near.sum()),
        requests=rows.requests(near),
        share=rows.share,
    )


def alike(given: Taught, reached: NDArray[Any]) -> Floats:
    """How alike every training row is to one that reaches these leaves, shape (training rows,); see `Support.likeness`."""
    spread = np.array([_spread(given, tree) for tree in range(given.ensemble.trees)])
    if not spread.sum():
        spread = np.ones(len(spread))  # a constant model cannot tell any rows apart
    found = np.empty(len(given.rows))
    for start in range(0, len(found), 20_000):
        part = slice(start, start + 20_000)
        found[part] = (given.leaves[part] == reached) @ (spread / spread.sum())
    return np.minimum(found, 1.0)


def mean_label(rows: TrainingRows, chosen: NDArray[np.bool_]) -> Estimate | None:
    """Weighted mean label of some rows, rows of one request together; None where none has weight."""
    weight, label = rows.weight[chosen], rows.label[chosen]
    if not weight.sum() > 0:
        return None
    owner = np.unique(rows.owner[chosen], return_inverse=True)[1]
    size, sums = np.bincount(owner, weights=weight), np.bincount(owner, weights=weight * label)
    return ratio(sums, size, np.ones(len(size)), of="process", share=rows.share)


def _spread(given: Taught, tree: int) -> float:
    values = given.values(tree)
    counts = given.ensemble.leaf_count[given.ensemble.first_leaf[tree] : given.ensemble.first_leaf[tree + 1]]
    if not counts.sum():
        return 0.0
    centre = np.average(values, weights=counts)
    return float(np.sqrt(np.average((values - centre) ** 2, weights=counts)))


def _leaves(given: Taught, reached: NDArray[Any]) -> pd.DataFrame:
    first = given.ensemble.first_leaf
    pulls = []
    for tree, leaf in enumerate(reached):
        counts = given.ensemble.leaf_count[first[tree] : first[tree + 1]]
        values = given.values(tree)
        centre = float(np.average(values, weights=counts)) if counts.sum() else float(values.mean())
        pulls.append(float(values[leaf]) - centre)
    order = np.argsort(-np.abs(pulls), kind="stable")[:LEAVES]
    found = [_leaf(given, int(tree), int(reached[tree]), pulls[tree]) for tree in order]
    return pd.DataFrame(found, columns=_LEAF).astype({"requests": "Int64"}).set_index("tree")


_LEAF = ["tree", "leaf", "value", "pull", "rows", "requests", "weight", "label", "low", "high", "first_at", "last_at", "tasks"]


def _leaf(given: Taught, tree: int, leaf: int, pull: float) -> tuple[Any, ...]:
    rows = given.rows
    inside = given.leaves[:, tree] == leaf
    rate = mean_label(rows, inside & ~np.isnan(rows.label))
    told = (rate.value, rate.low, rate.high) if rate else (np.nan,) * 3
    at, tasks = _times(rows), rows.attributes.get("task")
    days = at[inside].dropna() if at is not None else pd.Series([], dtype="datetime64[us, UTC]")
    spoken = _spoken(rows, inside, tasks) if tasks else ""
    count = (int(inside.sum()), rows.requests(inside), float(rows.weight[inside].sum()))
    span = (days.min(), days.max()) if len(days) else (pd.NaT, pd.NaT)
    return (tree, leaf, float(given.values(tree)[leaf]), pull, *count, *told, *span, spoken)


def _spoken(rows: TrainingRows, inside: NDArray[np.bool_], tasks: tuple[NDArray[np.int64], tuple[Any, ...]]) -> str:
    codes, names = tasks
    counted = Counter(codes[inside].tolist())
    size = max(int(inside.sum()), 1)
    return ", ".join(f"{names[code]} {n / size:.0%}" for code, n in counted.most_common(4) if code >= 0)


def _times(rows: TrainingRows) -> pd.Series[Any] | None:
    if "at" not in rows.table.column_names:
        return None
    found = pd.to_datetime(rows.table.column("at").to_pandas(), utc=True, errors="coerce")
    return found if isinstance(found, pd.Series) else None


def _groups(rows: TrainingRows, near: NDArray[np.bool_]) -> pd.DataFrame:
    found = [_grouped(rows, near, "task", *rows.attributes["task"])] if "task" in rows.attributes else []
    at = _times(rows)
    if at is not None and at.notna().any():
        days = at.dt.strftime("%Y-%m-%d")
        name = "day"
        if days.nunique() > _DAYS:
            name, days = "week", (at.dt.floor("D") - pd.to_timedelta(at.dt.weekday, unit="D")).dt.strftime("%Y-%m-%d")
        codes, names = pd.factorize(days)
        found.append(_grouped(rows, near, name, codes.astype(np.int64), tuple(names)))
    columns = ["attribute", "value", "rows", "share", "usual", "label", "usual_label"]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def _grouped(rows: TrainingRows, near: NDArray[np.bool_], name: str, codes: NDArray[np.int64], names: tuple[Any, ...]) -> pd.DataFrame:
    held, weight, label = codes >= 0, rows.weight, rows.label

    def sums(values: Floats, chosen: NDArray[np.bool_]) -> Floats:
        kept = held & chosen
        return np.asarray(np.bincount(codes[kept], weights=values[kept], minlength=len(names)), dtype=np.float64)

    every = np.ones(len(rows), dtype=np.bool_)
    known = ~np.isnan(label)
    labelled = weight * known
    with np.errstate(invalid="ignore", divide="ignore"):
        frame = pd.DataFrame(
            {
                "attribute": name,
                "value": [str(v) for v in names],
                "rows": sums(np.ones(len(rows)), near).astype(np.int64),
                "share": sums(weight, near) / sums(weight, near).sum(),
                "usual": sums(weight, every) / sums(weight, every).sum(),
                "label": sums(weight * np.where(known, label, 0.0), near) / sums(labelled, near),
                "usual_label": sums(weight * np.where(known, label, 0.0), every) / sums(labelled, every),
            }
        )
    return frame.sort_values("share", ascending=False, kind="stable", ignore_index=True)


def _nearest(rows: TrainingRows, likeness: Floats) -> pd.DataFrame:
    order = np.argsort(-likeness, kind="stable")[:NEAREST]
    frame = pd.DataFrame({"likeness": likeness[order], "label": rows.label[order], "weight": rows.weight[order]})
    told = [name for name in ("request_id", "item_id", "task", "at") if name in rows.table.column_names]
    for name in dict.fromkeys([*told, *rows.bundle.names]):
        if name not in frame:
            frame[name] = rows.table.column(name).take(order).to_pylist()
    return frame
