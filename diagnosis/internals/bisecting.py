"""One request through every version of its model: where an item dropped first, and which features carry it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError, DiagnosisError, NotFoundError
from diagnosis.internals.contributions import adds_up, contributions
from diagnosis.log.records import Request
from diagnosis.models import Bundle, Model, assemble, read_training
from diagnosis.reproduce import Workbench
from diagnosis.reproduce.agreement import ranks
from diagnosis.reproduce.batch import anew, coming, scored, wholes

Floats = NDArray[np.float64]

PAGE = 10


@dataclass(frozen=True, eq=False)
class Bisection:
    """An item of one request in every version.

    Attributes
    ----------
    rows : pandas.DataFrame
        Index ``version``, the earliest trained first: ``trained_until`` (text), ``score``, ``ahead`` (float64, raw score: the item's less
        the mean of all candidates), ``rank`` (Int64; behind all that are kept where a stage of a composite does not keep it), ``why`` (why
        it has no score; empty where it has).
    dropped_at, before : str
        The first version in which the item fell from within `places` to outside; else the one with its largest fall. And the version before
        it. Empty where it never fell.
    left : bool
        Whether it left the first `places` there.
    carried : pandas.DataFrame
        Index ``feature``, the largest first: ``before``, ``after`` (contribution to what the item is ahead), ``change`` (float64), ``value``
        (object). A feature that a version lacks contributes nothing there. No rows without a fall.
    note : str
        Why there is no split.
    """

    item: str
    places: int
    rows: pd.DataFrame
    dropped_at: str
    before: str
    left: bool
    carried: pd.DataFrame
    note: str

    @property
    def residual(self) -> float:
        """How far the changes are from adding up to the change of what the item is ahead; NaN without a split."""
        if not len(self.carried):
            return float("nan")
        ahead = self.rows["ahead"]
        moved = float(ahead[self.dropped_at]) - float(ahead[self.before])
        return abs(float(self.carried["change"].sum()) - moved)

    @property
    def adds_up(self) -> bool:
        """Whether the residual is only rounding; False without a split."""
        return adds_up(self.residual, float(self.carried["change"].abs().sum())) if len(self.carried) else False

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        held = self.rows[self.rows["rank"].notna()]
        if not self.dropped_at:
            return f"{self.item} fell in none of {len(held)} versions."
        ranks_of = [int(self.rows["rank"][version]) for version in (self.before, self.dropped_at)]
        what = f"left the first {self.places} places" if self.left else "fell most"
        text = f"{self.item} {what} with {self.dropped_at}: rank {ranks_of[0]} by {self.before}, {ranks_of[1]} by {self.dropped_at}"
        falling = self.carried[self.carried["change"] < 0].head(2)["change"]
        if len(falling) and self.adds_up:
            text += ", by " + " and ".join(f"{name} ({change:+.3g})" for name, change in falling.items())
        return text + "."


def bisect(workbench: Workbench, request: Request, item: str, *, name: str | None = None, places: int | None = None) -> Bisection:
    """Score a logged request with every version of a model, and find where an item dropped.

    Every version is scored rather than halves searched: an item can drop, come back and drop again. What carries the drop is how much each
    feature moves the item ahead of the mean of all candidates, in the version after less in that before.

    Parameters
    ----------
    name : str, optional
        Of the model; the one that the log names when not given.
    places : int, optional
        How many count; the page's when not given.

    Raises
    ------
    NotFoundError
        If the item is no candidate, or there is no such model.
    CannotSayError
        If the log names no model, or fewer than two versions can score the request.
    """
    if item not in request.items:
        raise NotFoundError("candidate", item, request.items)
    name = name or _model_of(workbench, request)
    bundles = in_order([b for b in workbench.bundles if b.name == name])
    if not bundles:
        raise NotFoundError("model", name, [b.name for b in workbench.bundles])
    tried = [_tried(workbench, request, bundle, item) for bundle in bundles]
    columns = ["version", "trained_until", "score", "ahead", "rank", "why"]
    rows = pd.DataFrame([row for row, _ in tried], columns=columns).set_index("version").astype({"rank": "Int64"})
    models = {bundle.version: model for bundle, (_, model) in zip(bundles, tried, strict=True) if model is not None}
    if len(models) < 2:
        raise CannotSayError(f"Fewer than two versions of {name} can score this request.", "admit them with `diagnosis models admit`.")
    places = places or _places(request)
    before, after, left = _drop(rows[rows["rank"].notna()], places)
    held = {bundle.version: bundle for bundle in bundles}
    sides = [(held[v], models[v]) for v in (before, after) if v]
    carried, note = _carried(sides, request, item) if after else (_none(), "")
    return Bisection(item, places, rows, after, before, left, carried, note)


def in_order(bundles: list[Bundle]) -> list[Bundle]:
    """Versions by when the rows end that they were trained on, then by when they were trained, by descent, and by name."""
    known = {b.version: b for b in bundles}

    def depth(bundle: Bundle) -> int:
        seen: set[str] = set()
        while bundle.parent in known and bundle.version not in seen:
            seen.add(bundle.version)
            bundle = known[bundle.parent]
        return len(seen)

    return sorted(bundles, key=lambda b: (b.trained_until, b.trained_at, depth(b), b.version))


def _model_of(workbench: Workbench, request: Request) -> str:
    bundle = workbench.bundle_of(request)
    if bundle is None:
        raise CannotSayError(f"The log names no model for request {request.request_id!r}.", "name one.")
    return bundle.name


def _tried(workbench: Workbench, request: Request, bundle: Bundle, item: str) -> tuple[tuple[Any, ...], Model | None]:
    """One version's row, and the model if it can score."""
    at = bundle.trained_until or bundle.trained_at
    try:
        model = workbench.model(bundle.name, bundle.version)
        score = _scores(model, request)
    except DiagnosisError as error:
        return (bundle.version, at, np.nan, np.nan, pd.NA, error.message), None
    place = request.items.index(item)
    found = ranks(score, request.batch.owner, wholes(request.table, "rank"))[place]
    if np.isnan(score[place]):
        if coming(model, request.table)[place]:  # it fell behind all that the stage keeps
            return (bundle.version, at, np.nan, np.nan, int((~np.isnan(score)).sum()) + 1, "an earlier stage does not keep it"), model
        return (bundle.version, at, np.nan, np.nan, pd.NA, "the candidate was dropped before scoring"), None
    return (bundle.version, at, float(score[place]), float(score[place] - np.nanmean(score)), int(found), ""), model


def _scores(model: Model, request: Request) -> Floats:
    """Of the candidates that came to it; all of them where the log has no score."""
    features = assemble(model.bundle, request.batch)
    if scored(request.table).any():
        return anew(model, request.batch, features)
    return np.asarray(model.score(features, groups=np.array([len(features)])), dtype=np.float64)


def _places(request: Request) -> int:
    slots = request.row.get("slots")
    return int(slots) if slots else PAGE


def _drop(rows: pd.DataFrame, places: int) -> tuple[str, str, bool]:
    """The version before and at the drop, and whether the item left the page there; empty where it never fell."""
    rank = rows["rank"].to_numpy(dtype=np.int64)
    fell = np.diff(rank)
    left = np.flatnonzero((rank[:-1] <= places) & (rank[1:] > places))
    if not (fell > 0).any():
        return "", "", False
    at = int(left[0]) if len(left) else int(np.argmax(fell))
    return str(rows.index[at]), str(rows.index[at + 1]), bool(len(left))


def _none() -> pd.DataFrame:
    return pd.DataFrame(columns=["before", "after", "change", "value"], index=pd.Index([], name="feature"))


def _carried(versions: list[tuple[Bundle, Model]], request: Request, item: str) -> tuple[pd.DataFrame, str]:
    try:
        sides = [_ahead(bundle, model, request, item) for bundle, model in versions]
    except DiagnosisError as error:
        return _none(), error.message
    names = list(dict.fromkeys([*sides[1].index, *sides[0].index]))
    told = [side["ahead"].reindex(names).fillna(0.0).to_numpy(dtype=np.float64) for side in sides]
    value = sides[1]["value"].reindex(names).where(pd.Index(names).isin(sides[1].index), sides[0]["value"].reindex(names))
    frame = pd.DataFrame({"before": told[0], "after": told[1], "change": told[1] - told[0], "value": value.astype(object)}, index=names)
    frame.index.name = "feature"
    return frame.reindex(frame["change"].abs().sort_values(ascending=False, kind="stable").index), ""


def _ahead(bundle: Bundle, model: Model, request: Request, item: str) -> pd.DataFrame:
    """How much each feature moves the item ahead of the mean candidate."""
    was = scored(request.table)
    was = was if was.any() else np.ones(len(was), dtype=np.bool_)
    items = [i for i, held in zip(request.items, was, strict=True) if held]
    features = assemble(model.bundle, request.batch)[was].reset_index(drop=True)
    given = contributions(model, features, items, training=read_training(bundle))
    if given.scale != "raw score":
        raise CannotSayError(f"Contributions of {model.bundle.version} are on the {given.scale}, so they do not split the raw score.")
    place = items.index(item)
    values = given.values.to_numpy()
    return pd.DataFrame(
        {"ahead": values[place] - values.mean(axis=0), "value": features.iloc[place].astype(object)}, index=model.bundle.names
    )
