"""Two sets of labelled rows side by side, of two model versions or of training and log: slices, labels, missing values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.estimate import Estimate, difference, false_discovery, ratio
from diagnosis.internals.training_rows import Floats, TrainingRows

SURE = 0.001  # chance of a finding where nothing changed, corrected for how many are looked at
SHARE, LABEL, MISSING = 0.02, 0.25, 0.01  # smaller changes are not named: of a share, of a label rate (relative), of missing values
_LEAST = 50.0  # rows that a label rate needs
_REQUESTS = 20  # requests that a set needs, for chance to be told from change


@dataclass(frozen=True, eq=False)
class RowChange:
    """How one set of rows differs from another.

    Attributes
    ----------
    before, after : str
        What the sets are called.
    slices : pandas.DataFrame
        One row a value of an attribute that both have, what moved first: ``attribute``, ``value``, ``rows_before``, ``rows_after``,
        ``share_before``, ``share_after`` (of the weight), ``share_q``, ``label_before``, ``label_after`` (weighted mean label; NaN without
        labels), ``label_expected`` (what it would be after, had it gone as the other values of the attribute did), ``label_q``, ``moved``
        (text: ``labels``, ``share``, both, or empty), ``text``. ``…_q``: chance of a difference as large if nothing had changed, corrected
        for how many there are (NaN where it cannot be told).
    missing : pandas.DataFrame
        Index ``feature``: ``before``, ``after`` (share of the weight), ``q``, ``moved`` (bool), the largest change first.
    labels : tuple of Estimate or None
        Mean label before and after; None without labels.
    rows : tuple of int
    share : bool
        Whether labels lie in [0, 1].
    labels_only : bool
        Whether only labels are asked about: see `diagnosis.internals.unconfirmed`.
    """

    before: str
    after: str
    slices: pd.DataFrame
    missing: pd.DataFrame
    labels: tuple[Estimate | None, Estimate | None]
    rows: tuple[int, int]
    share: bool
    labels_only: bool = False

    @property
    def label_moves(self) -> pd.DataFrame:
        """Slices whose labels went another way than those of the other values."""
        return self.slices[np.array(["labels" in moved for moved in self.slices["moved"]], dtype=np.bool_)]

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        lost, moved = self.label_moves, self.slices[self.slices["moved"] == "share"]
        gone = self.missing[self.missing["moved"]]
        found = [str(lost["text"].iloc[0])] if len(lost) else []
        if self.labels_only and not found:
            return f"No label rate by a request attribute is at odds with {self.before}."
        if self.labels_only:
            return found[0].replace("labels of", "Labels of", 1) + "."
        found += [moved["text"].iloc[0]] if len(moved) else []
        if len(gone):
            name, row = gone.index[0], gone.iloc[0]
            found.append(f"{name} is missing in {row['after']:.1%} of the rows of {self.after}, {row['before']:.1%} of {self.before}")
        if not found:
            return (
                f"The rows of {self.after} are as those of {self.before}: slices, labels and missing values differ by no more than chance."
            )
        text = "; ".join(found) + "."
        return text.replace("labels of", "Labels of", 1) if len(lost) else text


def row_change(
    before: TrainingRows, after: TrainingRows, names: tuple[str, str] | None = None, *, only: tuple[str, ...] = (), label: float = LABEL
) -> RowChange:
    """Compare two sets of rows; rows of one request count together, and those of one item.

    A value's labels are compared with what they would be, had they gone as those of most of the attribute's values: so a new level of all
    labels is no finding, and one device that lost its labels is. Named is what chance does not explain (Benjamini-Hochberg at 0.001) and
    is large enough to matter; see `SHARE`, `LABEL`, `MISSING`.

    Parameters
    ----------
    names : tuple of str, optional
        What to call them; the versions when not given.
    only : tuple of str
        Attributes to look at; all when empty.
    label : float
        Smallest change of a label rate, relative to what is expected, that is named.
    """
    called = names or (before.bundle.version, after.bundle.version)
    sides = (_Side(before), _Side(after))
    shared = [n for n in after.attributes if n in before.attributes and (not only or n in only)]
    found = [row for name in shared for row in _slices(name, sides)]
    return RowChange(
        before=called[0],
        after=called[1],
        slices=_judged(pd.DataFrame(found, columns=_COLUMNS), called, after.share and before.share, label),
        missing=_missing(sides),
        labels=tuple(side.label() for side in sides),  # type: ignore[arg-type]  # a generator of two
        rows=(len(before), len(after)),
        share=before.share and after.share,
    )


@dataclass(frozen=True, eq=False)
class _Side:
    """A set of rows, and what is summed by request."""

    rows: TrainingRows

    def sums(self, values: Floats) -> Floats:
        return np.asarray(np.bincount(self.rows.owner, weights=values), dtype=np.float64)

    def ratio(self, numerator: Floats, denominator: Floats) -> Estimate | None:
        """Of sums; its standard error counts rows of one request, and rows of one item, together (Cameron, Gelbach, Miller 2011)."""
        over = self.sums(denominator)
        if not over.sum() > 0:
            return None
        share = bool((numerator <= denominator).all() and (numerator >= 0).all())
        found = ratio(self.sums(numerator), over, np.ones(len(over)), of="process", share=share)
        gap = (numerator - found.value * denominator) / over.sum()
        by_item = self.rows.item
        extra = 0.0 if by_item is None else float((np.bincount(by_item, weights=gap) ** 2).sum() - (gap**2).sum())
        return replace(found, se=float(np.sqrt(found.se**2 + max(extra, 0.0))))

    def label(self, inside: NDArray[np.bool_] | None = None) -> Estimate | None:
        known = ~np.isnan(self.rows.label) & (True if inside is None else inside)
        weight = self.rows.weight * known
        return self.ratio(weight * np.where(known, self.rows.label, 0.0), weight)


_COLUMNS = ["attribute", "value", "rows_before", "rows_after", "share_before", "share_after", "share_p"]
_COLUMNS += ["label_before", "label_after", "label_expected", "label_p"]


def _slices(name: str, sides: tuple[_Side, _Side]) -> list[tuple[Any, ...]]:
    held = [side.rows.attributes[name] for side in sides]
    values = list(dict.fromkeys([*held[1][1], *held[0][1]]))
    inside = [[codes == (names.index(value) if value in names else -2) for codes, names in held] for value in values]
    labels = [tuple(side.label(mask) for side, mask in zip(sides, both, strict=True)) for both in inside]
    usual = _usual(labels, inside)
    found = []
    for value, both, mine in zip(values, inside, labels, strict=True):
        shares = [side.ratio(side.rows.weight * mask, side.rows.weight) for side, mask in zip(sides, both, strict=True)]
        given = [s.value if s else np.nan for s in shares]
        p = _p_of(shares[0], shares[1]) if shares[0] and shares[1] else np.nan
        rest = [side.label(~mask) for side, mask in zip(sides, both, strict=True)]
        found.append((name, value, *(int(m.sum()) for m in both), *given, p, *_label_change(sides, both, mine, rest, usual)))
    return found


_Two = Sequence[Estimate | None]


def _usual(labels: Sequence[_Two], inside: list[list[NDArray[np.bool_]]]) -> float:
    """By which factor the labels of an attribute's values went: the median over its rows, so that one value that lost its labels does not
    count. Of two values, the one that changed less is the usual one."""
    known = [
        (now.value / old.value, int(both[1].sum()))
        for (old, now), both in zip(labels, inside, strict=True)
        if old and now and old.value > 0
    ]
    if len(known) < 2:
        return np.nan
    if len(known) == 2:
        return min((factor for factor, _ in known), key=lambda f: abs(np.log(max(f, 1e-300))))
    known.sort()
    half = np.cumsum([count for _, count in known])
    return known[int(np.searchsorted(half, half[-1] / 2))][0]


def _label_change(
    sides: tuple[_Side, _Side], inside: list[NDArray[np.bool_]], mine: _Two, rest: _Two, usual: float
) -> tuple[float, float, float, float]:
    """Label before, after, expected after, and the chance of so large a gap between the last two."""
    old, now = mine
    told = [one.value if one else np.nan for one in mine]
    if any(mask.sum() < _LEAST for mask in inside) or old is None or now is None or not old.value * usual > 0:
        return told[0], told[1], np.nan, np.nan
    expected, counts = old.value * usual, [_effective(side, mask) for side, mask in zip(sides, inside, strict=True)]
    # with hardly any label left, what is seen says too little of its own error: as large as it would be at the expected rate
    design = max(old.se**2 * counts[0] / max(old.value * (1 - old.value), 1e-12), 1.0) if 0 < old.value < 1 else 1.0
    own = max(now.se, np.sqrt(design * expected * (1 - expected) / counts[1])) if 0 < expected < 1 else now.se
    others = [one for one in (old, *rest) if one is not None and one.value > 0]
    error = np.hypot(own, expected * np.sqrt(sum((one.se / one.value) ** 2 for one in others)))
    return old.value, now.value, expected, _two_sided((now.value - expected) / error) if error > 0 else np.nan


def _effective(side: _Side, inside: NDArray[np.bool_]) -> float:
    weight = side.rows.weight[inside & ~np.isnan(side.rows.label)]
    return float(weight.sum() ** 2 / max((weight**2).sum(), 1e-300))


def _judged(frame: pd.DataFrame, called: tuple[str, str], share: bool, least: float) -> pd.DataFrame:
    for name in ("share", "label"):
        frame[f"{name}_q"] = _corrected(frame.pop(f"{name}_p").to_numpy(dtype=np.float64))
    gap = (frame["label_after"] - frame["label_expected"]).abs() / frame["label_expected"].abs()
    labels = (frame["label_q"] < SURE) & (gap > least)
    shares = (frame["share_q"] < SURE) & ((frame["share_after"] - frame["share_before"]).abs() > SHARE)
    frame["moved"] = [" and ".join(w for w, hit in (("labels", a), ("share", b)) if hit) for a, b in zip(labels, shares, strict=True)]
    frame["text"] = [_text(row, called, share) for row in frame.to_dict("records")]
    size = np.where(labels, 10 + gap.fillna(0.0), 0.0) + np.where(shares, (frame["share_after"] - frame["share_before"]).abs(), 0.0)
    order = np.argsort(-size, kind="stable")
    return frame.iloc[order].reset_index(drop=True)


def _text(row: dict[Any, Any], called: tuple[str, str], share: bool) -> str:
    what, form = f"{row['attribute']} {row['value']}", ".2%" if share else ".4g"
    said = []
    if "labels" in row["moved"]:
        after, expected = format(row["label_after"], form), format(row["label_expected"], form)
        kind = "positive" if share else "the mean label"
        said.append(f"labels of {what}: {after} {kind} in {called[1]}, {expected} expected from {called[0]} and the other values")
    if "share" in row["moved"]:
        said.append(f"{what} is {row['share_after']:.1%} of the rows of {called[1]}, {row['share_before']:.1%} of {called[0]}")
    return "; ".join(said)


def _missing(sides: tuple[_Side, _Side]) -> pd.DataFrame:
    names = [n for n in sides[1].rows.bundle.names if n in sides[0].rows.bundle.names]
    found = []
    for name in names:
        lost = [np.isnan(s.rows.matrix[:, s.rows.bundle.names.index(name)]) for s in sides]
        given = [s.ratio(s.rows.weight * mask, s.rows.weight) for s, mask in zip(sides, lost, strict=True)]
        if given[0] and given[1]:
            found.append((name, given[0].value, given[1].value, _p_of(given[0], given[1])))
    frame = pd.DataFrame(found, columns=["feature", "before", "after", "p"]).set_index("feature")
    frame["q"] = _corrected(frame.pop("p").to_numpy(dtype=np.float64))
    change = (frame["after"] - frame["before"]).abs()
    frame["moved"] = (frame["q"] < SURE) & (change > MISSING)
    return frame.reindex(change.sort_values(ascending=False, kind="stable").index)


def _p_of(before: Estimate, after: Estimate) -> float:
    """Chance of so large a difference if nothing changed; NaN where a set has too few requests to tell."""
    if min(before.n, after.n) < _REQUESTS:
        return np.nan
    moved = difference(after, before)
    if moved.se <= 0:
        return 0.0 if moved.value else 1.0
    return _two_sided(moved.value / moved.se)


def _two_sided(z: float) -> float:
    from scipy.special import ndtr

    return float(2 * ndtr(-abs(z)))


def _corrected(p: Floats) -> Floats:
    out, known = np.full(len(p), np.nan), ~np.isnan(p)
    out[known] = false_discovery(p[known])
    return out
