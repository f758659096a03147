"""What happens inside a neural network: activations of every layer for candidates, two of them side by side, two windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.estimate import Estimate, difference, ratio
from diagnosis.internals.contributions import plain_value
from diagnosis.internals.perceptron import network_of
from diagnosis.log.records import Batch
from diagnosis.models import Model, assemble, encode
from diagnosis.models.network import OnnxModel

Floats = NDArray[np.float64]

TOLERANCE = 1e-9, 1e-4  # largest difference to the score for its size: in 64 bits, and of networks that compute in 32
SATURATED = 0.99  # of the way to its limit
MOVED = 0.5  # standard deviations of the baseline, the least shift of a unit that is told
_ROUNDING = 1e-9
_LIMITS = {"tanh": (-1.0, 1.0), "logistic": (0.0, 1.0), "sigmoid": (0.0, 1.0), "softsign": (-1.0, 1.0), "hardsigmoid": (0.0, 1.0)}
_SILENT = ("relu", "thresholdedrelu")  # whose units can be off


@dataclass(frozen=True, eq=False)
class Layer:
    """What one layer gives.

    Attributes
    ----------
    name : str
        ``input``, ``hidden 1`` … in a perceptron of scikit-learn; the tensor's own name in an ONNX network.
    kind : str
        Activation, in small letters; ``input`` for what the network is given after preprocessing.
    units : tuple of str
    values : array of float64, shape (n, units)
    """

    name: str
    kind: str
    units: tuple[str, ...]
    values: Floats


@dataclass(frozen=True, eq=False)
class Activations:
    """Every layer for some candidates; the score is the check.

    Attributes
    ----------
    residual : float
        Largest difference between the score that the layers lead to and the model's own, relative to the largest score; of a classifier
        between probabilities. NaN if a score is.
    """

    items: tuple[str, ...]
    layers: tuple[Layer, ...]
    score: Floats
    residual: float

    @property
    def frame(self) -> pd.DataFrame:
        """For a heat map: one row a candidate and unit. ``item``, ``layer``, ``kind``, ``unit`` (text), ``number`` (int64, of the unit), ``value`` (float64)."""
        parts = []
        for layer in self.layers:
            count, n = len(layer.units), len(self.items)
            columns = {
                "item": np.repeat(np.array(self.items, dtype=object), count),
                "layer": np.full(n * count, layer.name, dtype=object),
                "kind": np.full(n * count, layer.kind, dtype=object),
                "unit": np.tile(np.array(layer.units, dtype=object), n),
                "number": np.tile(np.arange(count), n),
                "value": layer.values.ravel(),
            }
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)

    def between(self, a: str, b: str) -> pd.DataFrame:
        """Two candidates side by side, every unit, in order. Columns ``layer``, ``kind``, ``unit``, ``a``, ``b``, ``difference`` (float64) and ``step`` (float64): the difference in
        standard deviations of the unit over all candidates here; 0 where it is the same for all.

        Raises
        ------
        NotFoundError
            If one of them is not among the candidates.
        """
        for item in (a, b):
            if item not in self.items:
                raise NotFoundError("candidate", item, self.items)
        i, j = self.items.index(a), self.items.index(b)
        parts = []
        for layer in self.layers:
            apart, spread = layer.values[i] - layer.values[j], layer.values.std(axis=0)
            step = np.divide(apart, spread, out=np.zeros(len(apart)), where=spread > 0)
            columns = {"layer": layer.name, "kind": layer.kind, "unit": layer.units, "a": layer.values[i], "b": layer.values[j]}
            parts.append(pd.DataFrame({**columns, "difference": apart, "step": step}))
        return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True, eq=False)
class LayerShift:
    """What units did in the baseline and do in the incident.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row a unit. Columns ``layer``, ``kind``, ``unit``; ``baseline``, ``incident`` (mean over candidates), ``shift`` with ``low`` and
        ``high`` (95% over all units together), ``step`` (the shift in the baseline's standard deviations; infinite where it was constant); ``silent_baseline``, ``silent_incident``,
        ``saturated_baseline``, ``saturated_incident`` (shares of candidates in [0, 1]; NaN where the activation has no such state); all
        float64; ``state``: ``died`` (never on in the incident, and on before), ``dead`` (never on in either), ``woke`` (the other way round),
        ``saturated`` (over half of the candidates in the incident, and not before), ``shifted``, or ``as before``.
    requests : tuple of int
    """

    rows: pd.DataFrame
    requests: tuple[int, int]

    @property
    def changed(self) -> pd.DataFrame:
        """Units that are not as before, the largest step first; units that were dead before are left out."""
        rows = self.rows[~self.rows["state"].isin(["as before", "dead"])]
        return rows.reindex(rows["step"].abs().sort_values(ascending=False, kind="stable").index)

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        stands = f"{self.requests[0]:,} and {self.requests[1]:,} requests"
        if self.changed.empty:
            return f"None of {len(self.rows)} units changed ({stands})."
        counts = self.changed["state"].value_counts()
        where = self.changed.iloc[0]
        told = ", ".join(f"{count} {state}" for state, count in counts.items())
        return f"{len(self.changed)} of {len(self.rows)} units changed ({told}), most {where['unit']} of {where['layer']} ({stands})."

    def as_json(self) -> dict[str, Any]:
        """As plain values; NaN is None."""
        rows = [{str(k): plain_value(v) for k, v in row.items()} for row in self.rows.to_dict("records")]
        return {"sentence": self.sentence, "requests": list(self.requests), "units": rows}


def activations(model: Model, features: pd.DataFrame, items: Sequence[str]) -> Activations:
    """Every layer for every row of `features` (see `assemble`).

    Perceptrons of scikit-learn, alone or at the end of a pipeline, and ONNX networks.

    Raises
    ------
    CannotSayError
        If the model is no such network, or the layers do not lead to its score.
    """
    layers, score, residual, tolerance = _layers(model, features)
    if not residual <= tolerance:  # NaN is not
        raise CannotSayError(
            f"The layers of {model.bundle.name} {model.bundle.version} are not shown: they do not lead to its scores (off by {residual:.2g}).",
            "look at its contributions instead.",
        )
    return Activations(tuple(items), layers, score, residual)


def has_layers(model: Model) -> bool:
    """Whether a model is a neural network whose layers can be told."""
    if isinstance(model, OnnxModel):
        return True
    try:
        network_of(model)
    except CannotSayError:
        return False
    return True


def layer_shift(model: Model, baseline: Batch, incident: Batch) -> LayerShift:
    """Which units are dead, saturated or shifted in the incident and were not in the baseline; every candidate with the weight of its request.

    Raises
    ------
    CannotSayError
        If the model is no such network, or a window has no candidates.
    MissingFeaturesError, BundleError
        See `diagnosis.models.assemble`.
    """
    if not baseline.candidates.num_rows or not incident.candidates.num_rows:
        raise CannotSayError("There is nothing to compare: one of the windows has no candidates.", "widen it, or choose another slice.")
    held = [activations(model, assemble(model.bundle, b), [""] * b.candidates.num_rows) for b in (baseline, incident)]
    lost = sum(int((~np.isfinite(np.column_stack([x.values for x in h.layers]))).any(axis=1).sum()) for h in held)
    if lost:
        raise CannotSayError(f"{lost:,} candidates have values inside the network that are no numbers.", "leave them out by a filter.")
    units = sum(len(layer.units) for layer in held[0].layers)
    wider = NormalDist().inv_cdf(1 - 0.025 / units) / NormalDist().inv_cdf(0.975)
    windows = _Window(baseline), _Window(incident)
    rows = [
        _unit(one, other, number, windows, wider)
        for one, other in zip(held[0].layers, held[1].layers, strict=True)
        for number in range(len(one.units))
    ]
    return LayerShift(pd.DataFrame(rows), (len(baseline), len(incident)))


class _Window:
    """Requests of a window, as means over their candidates want them."""

    def __init__(self, batch: Batch) -> None:
        self.owner, self.groups, self.keep = batch.owner, batch.groups.astype(np.float64), 1.0 / batch.weights
        self.members = np.arange(len(batch), dtype=np.int64)
        if "member" in batch.requests.column_names:  # anonymous requests are each their own
            codes = pd.factorize(batch.requests.column("member").to_pandas())[0].astype(np.int64)
            self.members = np.where(codes < 0, len(codes) + self.members, codes)

    def mean(self, values: Floats) -> Estimate:
        """Over candidates, every one with the weight of its request; the interval is of the process that makes requests."""
        sums = np.bincount(self.owner, weights=values, minlength=len(self.groups))
        return ratio(sums, self.groups, self.keep, of="process", clusters=self.members)

    def share(self, values: Floats | None) -> float:
        """The same of a yes or no; NaN of none."""
        return float("nan") if values is None else self.mean(values).value


def _layers(model: Model, features: pd.DataFrame) -> tuple[tuple[Layer, ...], Floats, float, float]:
    """Layers, the scores that they lead to, how far these are from the model's own, and how far they may be."""
    if isinstance(model, OnnxModel):
        matrix = encode(model.bundle, features)
        held, score = model.layers(matrix)
        first = Layer("input", "input", tuple(model.bundle.names), matrix)
        own = model.score_matrix(matrix)
        gap = float(np.max(np.abs(own - score), initial=0.0) / max(float(np.max(np.abs(own), initial=0.0)), 1e-300))
        return (first, *(Layer(name, kind.lower(), _numbered(v), v) for name, kind, v in held)), own, gap, TOLERANCE[1]
    network = network_of(model)
    given = network.given(features)
    values, score = network.forward(given)
    first = Layer("input", "input", network.columns, given)
    rest = (Layer(f"hidden {n}", network.activation, _numbered(v), v) for n, v in enumerate(values, 1))
    return (first, *rest), score, network.gap(features, score), TOLERANCE[0]


def _numbered(values: Floats) -> tuple[str, ...]:
    return tuple(f"unit {n}" for n in range(values.shape[1]))


def _unit(one: Layer, other: Layer, number: int, windows: tuple[_Window, _Window], wider: float) -> dict[str, Any]:
    both = one.values[:, number], other.values[:, number]
    means = [window.mean(values) for window, values in zip(windows, both, strict=True)]
    spread = float(np.sqrt(windows[0].mean((both[0] - means[0].value) ** 2).value))
    moved = difference(means[1], means[0])
    low, high = (moved.value + wider * (end - moved.value) for end in (moved.low, moved.high))
    rounding = _ROUNDING * max(float(np.abs(values).max()) for values in both)
    still = abs(moved.value) <= rounding
    step = 0.0 if still else moved.value / spread if spread > rounding else float(np.copysign(np.inf, moved.value))
    silent, full = ([w.share(state(one.kind, v)) for w, v in zip(windows, both, strict=True)] for state in (_off, _full))
    row: dict[str, Any] = {"layer": one.name, "kind": one.kind, "unit": one.units[number]}
    row |= {"baseline": means[0].value, "incident": means[1].value, "shift": moved.value, "low": low, "high": high, "step": step}
    row |= {"silent_baseline": silent[0], "silent_incident": silent[1], "saturated_baseline": full[0], "saturated_incident": full[1]}
    return {**row, "state": _state(silent, full, step, not still and (low > 0 or high < 0))}


def _state(silent: list[float], full: list[float], step: float, clear: bool) -> str:
    if silent[0] == 1.0 or silent[1] == 1.0:
        return "dead" if silent[0] == silent[1] else ("died" if silent[1] == 1.0 else "woke") if clear else "as before"
    if full[1] > 0.5 >= full[0] and clear:
        return "saturated"
    return "shifted" if clear and abs(step) >= MOVED else "as before"


def _off(kind: str, values: Floats) -> Floats | None:
    return (values <= 0.0).astype(np.float64) if kind in _SILENT else None


def _full(kind: str, values: Floats) -> Floats | None:
    if kind not in _LIMITS:
        return None
    low, high = _LIMITS[kind]
    middle, half = (low + high) / 2, (high - low) / 2
    return np.asarray(np.abs(values - middle) >= SATURATED * half, dtype=np.float64)
