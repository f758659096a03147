"""The way of a candidate through one tree, in the words of the log; and of two candidates, up to the split where they part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import NotFoundError
from diagnosis.internals.cohort import prepared_of
from diagnosis.internals.contributions import plain_value
from diagnosis.internals.ensemble import NAN, NONE, ZERO_WIDTH, Ensemble
from diagnosis.internals.forests import VOTES
from diagnosis.internals.ways import decisions, way
from diagnosis.models import Feature, Model, encode
from diagnosis.models.scoring import SklearnModel

_NAMED = 4  # categories of a split that are written out
NO_UNITS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Split:
    """What a tree asks at one place.

    Attributes
    ----------
    number : int
        Among the tree's own splits, 0 is the root.
    threshold : float
        In the feature's unit; NaN of a category.
    categories : tuple of str
        Those that go left; empty of a number.
    missing : str
        What becomes of a value that is not there: ``left``, ``right`` or ``as 0``.
    zero_is_missing : bool
        Whether a 0 counts as not there.
    rows : float
        Training rows that came here.
    gain : float
        What the split gained in training, in units of the loss.
    """

    number: int
    feature: str
    threshold: float
    categories: tuple[str, ...]
    missing: str
    zero_is_missing: bool
    rows: float
    gain: float
    unit: str = ""

    @property
    def question(self) -> str:
        """What is asked, in words; yes goes left."""
        if self.categories:
            rest = len(self.categories) - _NAMED
            named = ", ".join(self.categories[:_NAMED]) + (f" or {rest} more" if rest > 0 else "")
            return f"{self.feature} is {named}"
        if np.isnan(self.threshold):
            return f"{self.feature} is none of the categories"
        return f"{self.feature} ≤ {self.threshold:.6g}{f' {self.unit}' if self.unit else ''}"


@dataclass(frozen=True)
class Step:
    """One split on a candidate's way, and which way it took.

    Attributes
    ----------
    value : object
        Of the candidate's feature, as logged; None if it is missing.
    left : bool
        Whether the answer was yes.
    why : str
        ``value``; or, where none could be compared, ``missing`` or ``never seen`` (a category that training did not know).
    """

    split: Split
    value: Any
    left: bool
    why: str = "value"

    @property
    def sentence(self) -> str:
        """Question, answer and reason."""
        answer = "yes" if self.left else "no"
        if self.why == "missing":
            what = "counts as 0" if self.split.missing == "as 0" else f"goes {self.split.missing}"
            return f"{self.split.question}? {answer}: the value is {'0, which' if self.value == 0 else 'missing, which'} {what}"
        if self.why == "never seen":
            return f"{self.split.question}? {answer}: training never saw {self.value!r}"
        return (
            f"{self.split.question}? {answer}: {told(self.value, self.split.threshold)}{f' {self.split.unit}' if self.split.unit else ''}"
        )


@dataclass(frozen=True)
class Path:
    """The way of one candidate through one tree.

    Attributes
    ----------
    leaf : int
        Number among the tree's own leaves.
    value : float
        What the leaf adds to the raw score.
    rows : float
        Training rows in the leaf.
    """

    item: str
    tree: int
    steps: tuple[Step, ...]
    leaf: int
    value: float
    rows: float

    @property
    def frame(self) -> pd.DataFrame:
        """One row a step: ``split`` (int), ``feature``, ``question``, ``value`` (object), ``answer`` (yes, no), ``why``, ``rows``, ``gain`` (float64)."""
        rows = [
            (s.split.number, s.split.feature, s.split.question, s.value, "yes" if s.left else "no", s.why, s.split.rows, s.split.gain)
            for s in self.steps
        ]
        return pd.DataFrame(rows, columns=["split", "feature", "question", "value", "answer", "why", "rows", "gain"])

    @property
    def sentence(self) -> str:
        """Where it ends, in one sentence."""
        return f"{self.item} reaches leaf {self.leaf} of tree {self.tree} after {len(self.steps)} {_splits(len(self.steps))}, which adds {self.value:+.3g} ({self.rows:,.0f} training rows)."

    def as_json(self) -> dict[str, Any]:
        """As plain values; NaN is None."""
        steps = [{key: plain_value(value) for key, value in row.items()} for row in self.frame.to_dict("records")]
        return {"item": self.item, "tree": self.tree, "leaf": self.leaf, "value": self.value, "rows": self.rows, "steps": steps}


@dataclass(frozen=True)
class Fork:
    """The ways of two candidates of one request through one tree.

    Attributes
    ----------
    shared : int
        How many splits both met and answered alike; the next one, if there is one, parts them.
    """

    a: Path
    b: Path
    shared: int

    @property
    def difference(self) -> float:
        """What the tree adds to A's raw score less what it adds to B's."""
        return self.a.value - self.b.value

    @property
    def parted(self) -> tuple[Step, Step] | None:
        """The steps of A and of B at the split where they part; None if both reach the same leaf."""
        return None if self.a.leaf == self.b.leaf else (self.a.steps[self.shared], self.b.steps[self.shared])

    @property
    def sentence(self) -> str:
        """Where and why they part, in one sentence."""
        at = self.parted
        if at is None:
            return f"{self.a.item} and {self.b.item} reach the same leaf of tree {self.a.tree}."
        return (
            f"Tree {self.a.tree} parts them after {self.shared} shared {_splits(self.shared)} by “{at[0].split.question}” "
            f"({self.a.item}: {_given(at[0])}, {self.b.item}: {_given(at[1])}), which makes {self.difference:+.3g}."
        )


def ensemble_of(model: Model) -> Ensemble:
    """The trees of a model.

    Raises
    ------
    CannotSayError
        If it has none that can be read; those of LightGBM and scikit-learn are.
    """
    return prepared_of(model).ensemble


def tree_scores(model: Model, features: pd.DataFrame) -> NDArray[np.float64]:
    """What the model itself says of each row, on the scale of the sum of its trees: the raw score, or the probability of a forest that votes."""
    score = np.asarray(model.score(features), dtype=np.float64)
    if isinstance(model, SklearnModel) and type(model.estimator).__name__ in VOTES:
        return np.asarray(1.0 / (1.0 + np.exp(-score)), dtype=np.float64)
    return score


def path(model: Model, features: pd.DataFrame, item: str, tree: int, *, units: Mapping[str, str] = NO_UNITS) -> Path:
    """The way of `item` through `tree`.

    Parameters
    ----------
    features : pandas.DataFrame
        What the model was given, index ``item_id``: `Contributions.features`.
    units : mapping of str to str, optional
        Unit of a feature, for the words.

    Raises
    ------
    NotFoundError
        If there is no such candidate or tree.
    CannotSayError
        If the model has no trees that can be read.
    """
    ensemble = ensemble_of(model)
    if not 0 <= tree < ensemble.trees:
        raise NotFoundError("tree", str(tree), hint=f"the model has trees 0 to {ensemble.trees - 1}.")
    one = row_of(features, item)
    goes = decisions(ensemble, encode(model.bundle, one)[0])
    met, leaf = way(ensemble, tree, goes)
    start, end = int(ensemble.first_split[tree]), int(ensemble.first_leaf[tree]) + leaf
    steps = tuple(_step(ensemble, model.bundle.features, start + number, number, one, bool(goes[start + number]), units) for number in met)
    return Path(item, tree, steps, leaf, float(ensemble.leaf_value[end]), float(ensemble.leaf_count[end]))


def fork(model: Model, features: pd.DataFrame, a: str, b: str, tree: int, *, units: Mapping[str, str] = NO_UNITS) -> Fork:
    """The ways of two candidates through `tree`; see `path`."""
    one, other = (path(model, features, item, tree, units=units) for item in (a, b))
    alike = [s.split.number == t.split.number and s.left == t.left for s, t in zip(one.steps, other.steps, strict=False)]
    return Fork(one, other, alike.index(False) if False in alike else len(alike))


def split_of(ensemble: Ensemble, features: tuple[Feature, ...], at: int, number: int, units: Mapping[str, str] = NO_UNITS) -> Split:
    """What is asked at split `at` over all trees, which is `number` among its tree's own."""
    feature = features[ensemble.feature[at]]
    known = feature.categories
    categories: tuple[str, ...] = ()
    if ensemble.categorical[at]:
        codes = ensemble.categories_left(at).tolist()
        categories = tuple(known[code] if code < len(known) else f"code {code}" for code in codes)
    kind = int(ensemble.missing[at])
    missing = "left" if ensemble.default_left[at] else "right"
    if ensemble.categorical[at]:
        missing = "right"
    elif kind == NONE:
        missing = "as 0"
    return Split(
        number,
        feature.name,
        float(ensemble.threshold[at]),
        categories,
        missing,
        not ensemble.categorical[at] and kind not in (NONE, NAN),
        float(ensemble.split_count[at]),
        float(ensemble.gain[at]),
        units.get(feature.name, ""),
    )


def row_of(features: pd.DataFrame, item: str) -> pd.DataFrame:
    """The one row of a candidate; the first, if it stands twice.

    Raises
    ------
    NotFoundError
    """
    places = np.flatnonzero(features.index == item)
    if not len(places):
        raise NotFoundError("candidate", item, [str(i) for i in features.index])
    return features.iloc[[int(places[0])]]


def told(value: Any, beside: float = float("nan")) -> str:
    """A value in words, a number with as many digits as tell it from `beside`."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "missing"
    if not isinstance(value, (int, float, np.number)):
        return str(value)
    digits = (f"{float(value):.{n}g}" for n in (6, 9, 12, 17) if float(f"{float(value):.{n}g}") != beside or n == 17)
    return next(digits)


def _step(
    ensemble: Ensemble, features: tuple[Feature, ...], at: int, number: int, row: pd.DataFrame, left: bool, units: Mapping[str, str]
) -> Step:
    split = split_of(ensemble, features, at, number, units)
    value = row[split.feature].iloc[0]
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return Step(split, None, left, "missing")
    if split.zero_is_missing and abs(value) <= ZERO_WIDTH:
        return Step(split, value, left, "missing")
    feature = features[ensemble.feature[at]]
    strange = feature.dtype == "category" and value not in feature.categories
    return Step(split, value, left, "never seen" if strange else "value")


def _given(step: Step) -> str:
    return told(step.value, step.split.threshold)


def _splits(count: int) -> str:
    return "split" if count == 1 else "splits"
