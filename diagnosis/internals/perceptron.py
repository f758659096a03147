"""A multi-layer perceptron of scikit-learn as plain arrays: forward, backward, and how inputs make its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.internals.contributions import TOLERANCE, Contributions, decoded, encoded
from diagnosis.models import Model, encode
from diagnosis.models.scoring import SklearnModel

Floats = NDArray[np.float64]

_POINTS = 32  # of Gauss-Legendre quadrature between two kinks of a smooth activation's path
_PIECES = 4  # into which the path is cut where there are no kinks
_PROBES = 32  # training rows that tell which input a feature acts on


@dataclass(frozen=True, eq=False)
class Network:
    """Layers of a perceptron.

    Attributes
    ----------
    model : Model
    prepare : object or None
        Steps of the pipeline before it.
    columns : tuple of str
        What it is given, after them.
    weights, biases : tuple of array of float64
        Of each layer, shapes (given, units) and (units,).
    activation : str
        ``relu``, ``tanh``, ``logistic`` or ``identity``, of the hidden layers.
    output : str
        ``identity``; ``logistic`` of a classifier, whose raw score is the last sum; ``exp``, whose raw score is its exponential.
    named : bool
        Whether the estimator wants a frame.
    """

    model: Model
    prepare: Any
    columns: tuple[str, ...]
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    activation: str
    output: str
    named: bool

    def given(self, features: pd.DataFrame) -> Floats:
        """What the first layer is given for rows of logged features, shape (n, columns)."""
        rows: Any = features if self.named else encode(self.model.bundle, features)
        if self.prepare is None:
            return encode(self.model.bundle, features)
        made = self.prepare.transform(rows)
        return np.asarray(made.toarray() if hasattr(made, "toarray") else made, dtype=np.float64)

    def gap(self, features: pd.DataFrame, score: Floats) -> float:
        """Largest difference between `score` and what the model itself says, relative to the largest; of a classifier between probabilities.

        The library tells a classifier's score through its probability, which cannot hold scores far from 0 as finely.
        """
        own = np.asarray(self.model.score(features), dtype=np.float64)
        if self.output == "logistic":
            return float(np.max(np.abs(_active("logistic", own) - _active("logistic", score)), initial=0.0))
        return float(np.max(np.abs(own - score), initial=0.0) / np.maximum(np.max(np.abs(own), initial=0.0), 1e-300))

    def forward(self, given: Floats) -> tuple[list[Floats], Floats]:
        """Values of the hidden layers, and raw scores."""
        sums, score = self.sums(given)
        return [_active(self.activation, s) for s in sums], score

    def sums(self, given: Floats) -> tuple[list[Floats], Floats]:
        """What each hidden layer sums up before its activation, and raw scores."""
        held, now = [], given
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            held.append(now @ weight + bias)
            now = _active(self.activation, held[-1])
        last = (now @ self.weights[-1] + self.biases[-1])[:, 0]
        return held, np.exp(last) if self.output == "exp" else last

    def gradient(self, given: Floats) -> Floats:
        """How the score changes with each column, exactly; shape (n, columns)."""
        sums, score = self.sums(given)
        back = np.repeat(self.weights[-1].T, len(given), axis=0)
        if self.output == "exp":
            back = back * score[:, None]
        for weight, held in zip(self.weights[-2::-1], sums[::-1], strict=True):
            back = (back * _slope(self.activation, held)) @ weight.T
        return np.asarray(back, dtype=np.float64)


def network_of(model: Model) -> Network:
    """The perceptron in a model.

    Raises
    ------
    CannotSayError
        If there is none, or it has several outputs.
    """
    what = f"{model.bundle.name} {model.bundle.version}"
    estimator: Any = model.estimator if isinstance(model, SklearnModel) else None
    steps = getattr(estimator, "steps", None)
    last = steps[-1][1] if steps else estimator
    if type(last).__name__ not in ("MLPClassifier", "MLPRegressor"):
        raise CannotSayError(f"{what} is no neural network that can be opened.", "perceptrons of scikit-learn and ONNX networks can.")
    if last.n_outputs_ != 1:
        raise CannotSayError(f"{what} has {last.n_outputs_} outputs, and no single score.", "add one bundle a head.")
    prepare = estimator[:-1] if steps and len(steps) > 1 else None
    count = last.coefs_[0].shape[0]
    columns = _columns(prepare, model.bundle.names, count)
    named = getattr(estimator, "feature_names_in_", None) is not None
    weights, biases = (tuple(np.asarray(a, dtype=np.float64) for a in held) for held in (last.coefs_, last.intercepts_))
    return Network(model, prepare, columns, weights, biases, last.activation, last.out_activation_, named)


def integrated_gradients(model: Model, features: pd.DataFrame, items: Sequence[str], *, training: pa.Table | None) -> Contributions:
    """Contributions of every row by integrated gradients (Sundararajan, Taly, Yan, ICML 2017), against the mean of the training rows.

    The mean is of what the network is given, after preprocessing; contributions of its columns are summed up by the logged feature that acts on
    them. Where the activation is ``relu`` or ``identity`` the gradient is constant between kinks, which are found, so the integral is
    exact; else it is Gauss-Legendre quadrature. `Contributions.residual` is the completeness residual.

    Raises
    ------
    CannotSayError
        If the model is no perceptron, there are no training rows, or a column depends on several features.
    """
    network = network_of(model)
    if training is None or not training.num_rows:
        raise CannotSayError(
            f"Integrated gradients of {model.bundle.name} {model.bundle.version} need training rows to start from, and the bundle has none.",
            "add a training.parquet to the bundle.",
        )
    known = decoded(model, encoded(model, training))
    start = network.given(known).mean(axis=0)
    rows = network.given(features)
    owner = _owners(network, known)
    parts = np.array([_integral(network, start, row) for row in rows]).reshape(rows.shape)
    values = np.zeros((len(rows), len(model.bundle.features)))
    np.add.at(values.T, owner, parts.T)
    index = pd.Index(np.array(list(items), dtype=object), name="item_id")
    base = np.full(len(rows), float(network.sums(start[None])[1][0]))
    table = pd.DataFrame(values, index=index, columns=model.bundle.names)
    score = network.sums(rows)[1]
    gap = network.gap(features, score)
    if not gap <= TOLERANCE:
        raise CannotSayError(f"The layers of {model.bundle.name} {model.bundle.version} do not lead to its scores (off by {gap:.2g}).")
    return Contributions(table, base, score, features.set_axis(index, axis=0), "integrated gradients, against the training mean")


def _integral(network: Network, start: Floats, row: Floats) -> Floats:
    """Of the gradient along the straight line from `start` to `row`, times the distance; shape (columns,)."""
    kinks = _kinks(network, start, row)
    count = 1 if network.activation in ("relu", "identity") and network.output != "exp" else _POINTS
    node, weight = np.polynomial.legendre.leggauss(count)
    width = np.diff(kinks)
    at = (kinks[:-1, None] + width[:, None] * (node + 1) / 2).ravel()
    share = (width[:, None] * weight / 2).ravel()
    return np.asarray(share @ network.gradient(start + at[:, None] * (row - start)) * (row - start), dtype=np.float64)


def _kinks(network: Network, start: Floats, row: Floats) -> Floats:
    """Where on the way from 0 to 1 to cut: at every change of a unit between on and off, layer by layer."""
    if network.activation != "relu":
        return np.linspace(0.0, 1.0, _PIECES + 1)
    at = np.array([0.0, 1.0])
    for layer in range(len(network.weights) - 1):
        sums = network.sums(start + at[:, None] * (row - start))[0][layer]
        here, there = sums[:-1], sums[1:]
        place, unit = np.nonzero((here < 0) != (there < 0))
        # Between two kinks of the layers before, what this one sums up is a straight line.
        part = here[place, unit] / (here[place, unit] - there[place, unit])
        at = np.unique(np.concatenate([at, at[place] + part * (at[place + 1] - at[place])]))
    return np.asarray(np.clip(at, 0.0, 1.0), dtype=np.float64)


def _owners(network: Network, known: pd.DataFrame) -> NDArray[np.int64]:
    """Place of the logged feature that acts on each column; 0 for a column on which none does."""
    probes = known.iloc[np.unique(np.linspace(0, len(known) - 1, _PROBES).astype(int))]
    first = pd.concat([probes.iloc[[0]]] * len(probes), ignore_index=True)
    still = network.given(first)
    acts = np.zeros((known.shape[1], still.shape[1]), dtype=np.bool_)
    for place, name in enumerate(known.columns):
        moved = first.copy()
        moved[name] = probes[name].to_numpy()
        acts[place] = (network.given(moved) != still).any(axis=0)
    if (acts.sum(axis=0) > 1).any():
        raise CannotSayError(
            "The preprocessing mixes features, so the network's inputs are none of them.", "use permutation contributions."
        )
    return np.array(acts.argmax(axis=0), dtype=np.int64)


def _columns(prepare: Any, names: list[str], count: int) -> tuple[str, ...]:
    if prepare is None:
        return tuple(names)
    try:
        told = tuple(str(name) for name in prepare.get_feature_names_out())
    except (AttributeError, ValueError):  # a step that does not name what it makes
        told = ()
    return told if len(told) == count else tuple(f"column {n}" for n in range(count))


def _active(kind: str, sums: Floats) -> Floats:
    if kind == "relu":
        return np.maximum(sums, 0.0)
    if kind == "tanh":
        return np.tanh(sums)
    if kind == "logistic":
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * sums)), dtype=np.float64)
    return sums


def _slope(kind: str, sums: Floats) -> Floats:
    if kind == "relu":
        return np.asarray(sums > 0, dtype=np.float64)
    if kind == "identity":
        return np.ones_like(sums)
    value = _active(kind, sums)
    return 1.0 - value**2 if kind == "tanh" else value * (1.0 - value)
