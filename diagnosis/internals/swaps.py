"""The smallest edits that would put B above A: found among the model's own split points, checked by replay."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.internals.contributions import RAW, Contributions, decoded, encoded, place_of, plain_value
from diagnosis.internals.paths import told
from diagnosis.internals.values import Option, options
from diagnosis.models import Model, encode
from diagnosis.reproduce import Edits
from diagnosis.reproduce.edits import Edit, apply_edits

Floats = NDArray[np.float64]

_PAIRED, _STEPS = 24, 4  # moves whose values are paired, and values of each


@dataclass(frozen=True)
class Swap:
    """An edit, or two, after which the lower candidate has the higher score.

    Attributes
    ----------
    edits : tuple of Edit
        What to replay; item None is a feature of the request, which changes for all candidates.
    before : tuple
        What the edited features hold now; None is missing.
    size : float
        How far the values move, summed: for numbers the share of training rows (without them, of the model's split points) between the old value and the new one; 1 for
        another category, for the other truth value, and for a value that goes missing or comes into being.
    margin : float
        Score of A less that of B after a replay with the edits.
    """

    edits: tuple[Edit, ...]
    before: tuple[Any, ...]
    size: float
    margin: float

    @property
    def sentence(self) -> str:
        """What would have to be otherwise, in words."""
        changes = []
        for edit, before in zip(self.edits, self.before, strict=True):
            whose = "of the request" if edit.item is None else f"of {edit.item}"
            changes.append(f"{edit.feature} {whose} were {told(edit.value)} instead of {told(before)}")
        return "if " + " and ".join(changes)


@dataclass(frozen=True)
class Swaps:
    """What would turn the order of two candidates round.

    Attributes
    ----------
    a, b : str
        `a` has the higher score.
    margin : float
        Score of A less that of B as it is, raw.
    found : tuple of Swap
        At most one a feature and candidate; one edit before two, then the smallest.
    tried : int
        Values, and pairs of them, that were scored.
    complete : bool
        Whether every value that the model can tell apart was tried for the edits of one feature: so for trees. Pairs are of the values
        that help most alone, so a smaller pair may exist.
    """

    a: str
    b: str
    margin: float
    found: tuple[Swap, ...]
    tried: int
    complete: bool
    scale: str = RAW

    @property
    def sentence(self) -> str:
        """The smallest one, in one sentence."""
        if not self.margin > 0:
            return f"{self.a} and {self.b} have the same score, so there is no order to turn round."
        tried = f"{self.tried:,} values tried, {'all' if self.complete else 'not all'} that the model tells apart"
        if not self.found:
            return f"No edit of one or two features that was tried puts {self.b} above {self.a} ({tried})."
        one = self.found[0]
        return f"{self.b} would stand above {self.a} {one.sentence} ({-one.margin:.3g} ahead on the {self.scale}, now {self.margin:.3g} behind; {tried})."

    def as_json(self) -> dict[str, Any]:
        """As plain values; edits in the form of ``--set``."""
        rows = [
            {
                "edits": [str(edit) for edit in swap.edits],
                "before": [plain_value(value) for value in swap.before],
                "size": plain_value(swap.size),
                "margin": plain_value(swap.margin),
                "sentence": swap.sentence,
            }
            for swap in self.found
        ]
        head = {"item": self.a, "above": self.b, "margin": plain_value(self.margin), "scale": self.scale, "sentence": self.sentence}
        return {**head, "tried": self.tried, "complete": self.complete, "swaps": rows}


def swaps(
    model: Model, given: Contributions, a: str, b: str, *, training: pa.Table | None = None, fixed: Collection[str] = (), most: int = 10
) -> Swaps:
    """The smallest edits after which the lower of two candidates scores above the other; which of them is higher does not matter.

    One feature at a time, of either candidate (or of the request, for both at once): every value that the model's trees can tell apart,
    every category of the bundle, and a value that is missing; for other models 64 quantiles of the training rows. Where no single edit
    is enough, pairs of the values that help most. Every answer is replayed with its edits made as `diagnosis replay --set` makes them.

    Parameters
    ----------
    given : Contributions
        Of the request.
    training : pyarrow.Table, optional
        Training rows: what is near, and what values models other than trees are tried with.
    fixed : collection of str, optional
        Features that are not edited, such as those that do not apply to the task.
    most : int
        At most so many answers.

    Raises
    ------
    NotFoundError
        If one of them is no candidate.
    CannotSayError
        If a score is no number, the model scores candidates by each other, or it has neither trees nor training rows.
    """
    places = [place_of(given, item) for item in (a, b)]
    name = f"{model.bundle.name} {model.bundle.version}"
    if model.bundle.scope == "list":
        raise CannotSayError(f"{name} scores candidates by each other, so two alone cannot be swapped.", "replay the request with edits.")
    rows = encode(model.bundle, given.features.iloc[places])
    score = _score(model, rows)
    if not np.isfinite(score).all():
        raise CannotSayError(f"{a} and {b} cannot be swapped: one has no score.", "choose candidates that the model scored.")
    if score[0] < score[1]:
        a, b, rows, score = b, a, rows[::-1], score[::-1]
    margin, known = float(score[0] - score[1]), None if training is None else encoded(model, training)
    held, complete = options(model, rows, known)
    held = [option for option in held if model.bundle.names[option.feature] not in fixed]
    if not margin > 0 or not held:
        return Swaps(a, b, margin, (), 0, complete)
    found = [(option,) for option in held]
    after = _margins(model, rows, found)
    tried, best = len(found), _smallest(found, after)
    if not best:
        pairs = _pairs(held, after, margin)
        tried += len(pairs)
        best = _smallest(pairs, _margins(model, rows, pairs))
    checked = (_replayed(model, given, (a, b), rows, choice) for choice in best[:most])
    return Swaps(a, b, margin, tuple(swap for swap in checked if swap.margin < 0), tried, complete)


def _score(model: Model, matrix: Floats) -> Floats:
    return np.asarray(model.score(decoded(model, matrix)), dtype=np.float64)


def _margins(model: Model, rows: Floats, choices: Sequence[tuple[Option, ...]]) -> Floats:
    """Score of A less that of B after each choice of edits; infinite where it is no number."""
    both = np.repeat(rows[None, :, :], len(choices), axis=0)
    for place, choice in enumerate(choices):
        for option in choice:
            both[place, slice(None) if option.row is None else option.row, option.feature] = option.value
    score = _score(model, both.reshape(-1, rows.shape[1])).reshape(-1, 2)
    with np.errstate(invalid="ignore"):
        margin = score[:, 0] - score[:, 1]
    return np.asarray(np.where(np.isnan(margin), np.inf, margin), dtype=np.float64)


def _smallest(choices: Sequence[tuple[Option, ...]], after: Floats) -> list[tuple[Option, ...]]:
    """Those that turn the order round, the smallest of each set of edited features, the smallest first."""
    turned = [(sum(o.size for o in choice), at) for at, choice in enumerate(choices) if after[at] < 0]
    best: dict[tuple[Any, ...], tuple[Option, ...]] = {}
    for _, at in sorted(turned):
        best.setdefault(tuple((o.row, o.feature) for o in choices[at]), choices[at])
    return list(best.values())


def _pairs(held: Sequence[Option], after: Floats, margin: float) -> list[tuple[Option, ...]]:
    """Pairs of values that help alone: of the features that help most, the smallest edit for each amount of help."""
    kinds: dict[tuple[int | None, int], list[int]] = {}
    for at in np.argsort([option.size for option in held], kind="stable").tolist():
        kind = kinds.setdefault((held[at].row, held[at].feature), [])
        if after[at] < (after[kind[-1]] if kind else margin):
            kind.append(at)
    helpful = sorted((k for k in kinds.values() if k), key=lambda k: float(after[k[-1]]))[:_PAIRED]
    chosen = [[k[i] for i in np.unique(np.linspace(0, len(k) - 1, _STEPS).astype(int))] for k in helpful]
    return [(held[i], held[j]) for one, other in combinations(chosen, 2) for i in one for j in other if _apart(held[i], held[j])]


def _apart(one: Option, other: Option) -> bool:
    return one.feature != other.feature or (one.row is not None and other.row is not None)


def _replayed(model: Model, given: Contributions, items: tuple[str, str], rows: Floats, choice: tuple[Option, ...]) -> Swap:
    """The edits as a replay makes them, and the margin that it gives."""
    features, edits, before = model.bundle.features, [], []
    for option in choice:
        feature = features[option.feature]
        item = None if option.row is None else items[option.row]
        value: Any = None if np.isnan(option.value) else option.value
        if value is not None and feature.dtype == "category":
            value = feature.categories[int(value)]
        edits.append(Edit(item, feature.name, value))
        now = given.features[feature.name].iloc[place_of(given, items[option.row or 0])]
        before.append(plain_value(now))
    made = Edits(tuple(edits))
    edited, _ = apply_edits(made.values, given.features.reset_index(drop=True), [str(i) for i in given.features.index], model.bundle)
    score = np.asarray(model.score(edited.iloc[[place_of(given, item) for item in items]]), dtype=np.float64)
    return Swap(made.values, tuple(before), sum(option.size for option in choice), float(score[0] - score[1]))
