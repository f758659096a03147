"""Two versions of a model side by side: what they are, and what they do with the same requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.estimate import Estimate, ratio
from diagnosis.internals.cohort import cohort_matrix
from diagnosis.log.records import Batch
from diagnosis.models import Bundle, CompositeModel, Feature, Model, assemble, encode
from diagnosis.models.scoring import LightgbmModel, SklearnModel
from diagnosis.reproduce.agreement import ranks
from diagnosis.reproduce.batch import anew, scored, wholes

Floats = NDArray[np.float64]

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
PAGE = 10  # places that count where the log does not say how many there are
_FACTS = ("kind", "objective", "link", "scope", "label", "trained_at", "trained_from", "trained_until", "code_version", "parent")


@dataclass(frozen=True, eq=False)
class Manifests:
    """What two bundles say about themselves.

    Attributes
    ----------
    facts : pandas.DataFrame
        Index ``fact``: ``before``, ``after`` (text), ``changed`` (bool).
    features : pandas.DataFrame
        Index ``feature``, in the later model's order, those gone last: ``state`` (``same``, ``added``, ``gone``, ``changed``), ``text`` (what
        changed), ``gain_before``, ``gain_after`` (share of what all splits gained, or of the importances of a scikit-learn model; NaN where
        not known).
    """

    before: Bundle
    after: Bundle
    facts: pd.DataFrame
    features: pd.DataFrame

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        counts = self.features["state"].value_counts()
        said = [
            f"{counts[state]} {word}" for state, word in (("added", "added"), ("gone", "gone"), ("changed", "changed")) if state in counts
        ]
        features = f"features: {', '.join(said)}" if said else "the same features"
        others = [str(name) for name in self.facts.index[self.facts["changed"]] if name not in ("version", "features")]
        more = f"other {', '.join(others)}" if others else "nothing else differs"
        return f"{self.after.version} against {self.before.version}: {features}; {more}."


def manifests(before: Model, after: Model) -> Manifests:
    """Compare what two models say about themselves, and which features they split by."""
    one, two = before.bundle, after.bundle
    told = [{"version": b.version, **{name: getattr(b, name) for name in _FACTS}, **_more(m)} for m, b in ((before, one), (after, two))]
    names = list(dict.fromkeys([*told[0], *told[1]]))
    facts = pd.DataFrame(
        {"before": [str(told[0].get(n, "")) for n in names], "after": [str(told[1].get(n, "")) for n in names]}, index=names
    )
    facts.index.name = "fact"
    facts["changed"] = facts["before"] != facts["after"]
    rows = [_feature(name, one.feature(name), two.feature(name)) for name in dict.fromkeys([*two.names, *one.names])]
    features = pd.DataFrame(rows, columns=["feature", "state", "text"]).set_index("feature")
    for column, model in (("gain_before", before), ("gain_after", after)):
        features[column] = gains(model).reindex(features.index)
    return Manifests(one, two, facts, features)


def gains(model: Model) -> pd.Series[float]:
    """Share of each feature in what all splits gained (LightGBM) or in the impurity they took (scikit-learn); NaN where not known."""
    names = model.bundle.names
    found: Any = None
    if isinstance(model, LightgbmModel):
        found = model.booster.feature_importance("gain")
    elif isinstance(model, SklearnModel):
        found = getattr(model.estimator, "feature_importances_", None)
    if found is None or len(found) != len(names):
        return pd.Series(np.nan, index=names, dtype=np.float64)
    total = float(np.sum(found))
    return pd.Series(np.asarray(found, dtype=np.float64) / total if total > 0 else 0.0, index=names, dtype=np.float64)


def _more(model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {"features": len(model.bundle.features)}
    if isinstance(model, LightgbmModel):
        found["trees"] = model.booster.num_trees()
    return {**found, **{f"{name} (library)": version for name, version in sorted(model.bundle.library_versions.items())}}


def _feature(name: str, before: Feature | None, after: Feature | None) -> tuple[str, str, str]:
    if before is None or after is None:
        return name, "added" if before is None else "gone", ""
    said = []
    if before.source != after.source:
        said.append(f"read from {after.source}, not {before.source}")
    if before.dtype != after.dtype:
        said.append(f"{after.dtype}, not {before.dtype}")
    if before.categories != after.categories:
        new, gone = ([c for c in a.categories if c not in b.categories] for a, b in ((after, before), (before, after)))
        parts = [f"{len(new)} categories more"] * bool(new) + [f"{len(gone)} categories fewer"] * bool(gone)
        said.append(" and ".join(parts) or "categories in another order")
    return name, "changed" if said else "same", "; ".join(said)


@dataclass(frozen=True, eq=False)
class SameRequests:
    """What two models do with the same logged requests.

    Attributes
    ----------
    scores : pandas.DataFrame
        Weighted quantiles of the scores of all candidates, index ``quantile``: ``before``, ``after`` (raw score).
    score : Estimate
        Mean score after, less that before.
    top, page, moved : Estimate
        Share of requests whose first candidate stays; mean share of the page's places whose candidates stay; mean change of rank of a
        candidate, in places.
    contributions : pandas.DataFrame
        Index ``feature``, the largest shift first: ``before``, ``after`` (mean contribution to a candidate's score), ``shift`` with ``low``
        and ``high``, ``order_before``, ``order_after`` (share of the differences inside a request that the feature makes; see
        `diagnosis.internals.Shift`). A feature that one model lacks contributes nothing there. No rows where a model cannot be split.
    base : float
        Shift of what the score would be without any feature: with the shifts it adds up to `score`.
    requests : int
    note : str
        Why there are no contributions.
    """

    names: tuple[str, str]
    scores: pd.DataFrame
    score: Estimate
    top: Estimate
    page: Estimate
    moved: Estimate
    contributions: pd.DataFrame
    base: float
    requests: int
    note: str

    @property
    def residual(self) -> float:
        """How far the shifts are from adding up to the score's; NaN without contributions."""
        return abs(float(self.contributions["shift"].sum()) + self.base - self.score.value) if len(self.contributions) else float("nan")

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        text = (
            f"On the same {self.requests:,} requests, {self.names[1]} has another first candidate in {1 - self.top.value:.1%} "
            f"and keeps {self.page.value:.1%} of the page; the mean score moves by {self.score.value:+.3g}"
        )
        if not len(self.contributions):
            return text + "."
        name, shift = self.contributions.index[0], float(self.contributions["shift"].iloc[0])
        text += f", most by {name} ({shift:+.3g})" if abs(shift) > abs(self.base) else f", {self.base:+.3g} of it before any feature"
        order = self.contributions["order_after"] - self.contributions["order_before"]
        if order.isna().all():
            return text + "."
        most = str(order.abs().idxmax())
        parts = self.contributions.loc[most, ["order_before", "order_after"]].to_numpy(dtype=np.float64)
        return f"{text}. {most} makes {parts[1]:.0%} of the differences inside a request, {parts[0]:.0%} by {self.names[0]}."


def same_requests(before: Model, after: Model, batch: Batch, *, keep: Floats | None = None) -> SameRequests:
    """Score the same requests with two models; every request counts as what it stands for, those of one member together.

    Of composites the candidates count that both keep to the end; which they are is found stage by stage.

    Parameters
    ----------
    keep : array of float64, shape (requests,), optional
        Chance that a request of the full traffic is here; from the log when not given.

    Raises
    ------
    CannotSayError
        If there is no candidate to score.
    MissingFeaturesError, BundleError
        See `diagnosis.models.assemble`.
    """
    if not scored(batch.candidates).any():
        raise CannotSayError("There is no scored candidate to compare versions on.", "choose a window with requests that a model served.")
    probability = 1.0 / batch.weights if keep is None else keep
    features = [assemble(m.bundle, batch) for m in (before, after)]
    made = [anew(m, batch, given) for m, given in zip((before, after), features, strict=True)]
    was = scored(batch.candidates)
    if isinstance(before, CompositeModel) or isinstance(after, CompositeModel):
        was = ~np.isnan(made[0]) & ~np.isnan(made[1])
    case = _Case(batch, was, probability, members_of(batch))
    places = [ranks(values, batch.owner, wholes(batch.candidates, "rank")) for values in made]
    table, base, note = _contributions(case, before, after, [given[was] for given in features])
    return SameRequests(
        names=(before.bundle.version, after.bundle.version),
        scores=_quantiles(case, made),
        score=case.mean(made[1] - made[0]),
        top=_top(case, places),
        page=_page(case, places),
        moved=case.mean(np.abs(places[1] - places[0]).astype(np.float64)),
        contributions=table,
        base=base,
        requests=len(np.unique(batch.owner[was])),
        note=note,
    )


@dataclass(frozen=True, eq=False)
class _Case:
    """Requests to average over."""

    batch: Batch
    was: NDArray[np.bool_]
    keep: Floats
    members: NDArray[np.int64]

    def sums(self, values: Floats) -> Floats:
        held = np.where(self.was, values, 0.0)
        return np.asarray(np.bincount(self.batch.owner, weights=held, minlength=len(self.batch)), dtype=np.float64)

    def mean(self, values: Floats) -> Estimate:
        """Over candidates."""
        return ratio(self.sums(values), self.sums(np.ones(len(values))), self.keep, of="process", clusters=self.members)

    def share(self, hits: Floats, of: Floats) -> Estimate:
        """Of requests' sums."""
        return ratio(hits, of, self.keep, of="process", clusters=self.members, share=True)


def members_of(batch: Batch) -> NDArray[np.int64]:
    """Code of each request's member; anonymous requests are each their own."""
    own = np.arange(len(batch), dtype=np.int64)
    if "member" not in batch.requests.column_names:
        return own
    codes = pd.factorize(batch.requests.column("member").to_pandas())[0].astype(np.int64)
    return np.asarray(np.where(codes < 0, len(batch) + own, codes), dtype=np.int64)


def _quantiles(case: _Case, scores: list[Floats]) -> pd.DataFrame:
    weight = (1.0 / case.keep)[case.batch.owner]
    columns = {}
    for name, values in zip(("before", "after"), scores, strict=True):
        held = np.isfinite(values)
        order = np.argsort(values[held], kind="stable")
        below = np.cumsum(weight[held][order])
        places = np.minimum(np.searchsorted(below, np.array(QUANTILES) * below[-1] * (1 - 1e-12)), len(order) - 1)
        columns[name] = values[held][order][places]
    return pd.DataFrame(columns, index=pd.Index(QUANTILES, name="quantile"))


def _top(case: _Case, places: list[NDArray[np.int64]]) -> Estimate:
    same = case.sums(((places[0] == 1) & (places[1] == 1)).astype(np.float64))
    return case.share(np.minimum(same, 1.0), (case.sums(np.ones(len(case.was))) > 0).astype(np.float64))


def _page(case: _Case, places: list[NDArray[np.int64]]) -> Estimate:
    slots = np.full(len(case.batch), PAGE, dtype=np.int64)
    if "slots" in case.batch.requests.column_names:
        told = case.batch.requests.column("slots").to_numpy().astype(np.float64)
        slots = np.where(np.isfinite(told) & (told > 0), told, PAGE).astype(np.int64)
    held = np.bincount(case.batch.owner[case.was | (places[0] > 0)], minlength=len(case.batch))
    size = np.minimum(slots, held)
    inside = [(p >= 1) & (p <= size[case.batch.owner]) for p in places]
    return case.share(case.sums((inside[0] & inside[1]).astype(np.float64)), size.astype(np.float64))


def _contributions(case: _Case, before: Model, after: Model, features: list[pd.DataFrame]) -> tuple[pd.DataFrame, float, str]:
    columns = ["before", "after", "shift", "low", "high", "order_before", "order_after"]
    if not (isinstance(before, LightgbmModel) and isinstance(after, LightgbmModel)):
        return (
            pd.DataFrame(columns=columns, dtype=np.float64),
            float("nan"),
            "contributions of many requests are computed for LightGBM models only",
        )
    found = [cohort_matrix(m, encode(m.bundle, given)) for m, given in zip((before, after), features, strict=True)]
    owner = case.batch.owner[case.was]
    orders = [_order(one.values, owner, len(case.batch), (1.0 / case.keep)[owner]) for one in found]
    rows = {}
    for name in dict.fromkeys([*found[1].names, *found[0].names]):
        held = [np.zeros(len(case.was)), np.zeros(len(case.was))]
        for side, one in zip(held, found, strict=True):
            if name in one.names:
                side[case.was] = one.values[:, one.names.index(name)]
        shift = case.mean(held[1] - held[0])
        order = [o[one.names.index(name)] if name in one.names else 0.0 for o, one in zip(orders, found, strict=True)]
        rows[name] = (case.mean(held[0]).value, case.mean(held[1]).value, shift.value, shift.low, shift.high, *order)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    table.index.name = "feature"
    return table.reindex(table["shift"].abs().sort_values(ascending=False, kind="stable").index), found[1].base - found[0].base, ""


def _order(values: Floats, owner: NDArray[np.int64], count: int, weight: Floats) -> Floats:
    """Share of each feature in the differences between the scores of one request; see `Parts.order`."""
    size = np.bincount(owner, minlength=count)[owner]
    means = np.column_stack([np.bincount(owner, weights=column, minlength=count) for column in values.T])[owner] / size[:, None]
    centred = values - means
    products = weight @ (centred * centred.sum(axis=1, keepdims=True))
    total = float(products.sum())
    return np.asarray(products / total if total > 0 else np.full(values.shape[1], np.nan))
