"""Loaded models: one adapter a library, all with one verb, `score`.

A ``score`` is the model's raw output: for LightGBM the sum of its leaves before any link, for a scikit-learn classifier its decision
function or else its log-odds, for a regressor its prediction, for an ONNX network its first output.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import BundleError
from diagnosis.models.admission import Admission, check_digests
from diagnosis.models.bundle import Bundle, parse_manifest
from diagnosis.models.composite import CompositeModel
from diagnosis.models.features import encode
from diagnosis.models.network import OnnxModel


class Model(Protocol):
    """Something that scores candidates."""

    @property
    def bundle(self) -> Bundle:
        """What it says about itself."""
        ...

    def score(self, features: pd.DataFrame, *, groups: NDArray[np.int64] | None = None, threads: int | None = None) -> NDArray[np.float64]:
        """Raw scores, float64, one a row of `features` (see `assemble`).

        Parameters
        ----------
        groups : array of int64, optional
            How many rows each request has; only models of scope ``list`` need it.
        threads : int, optional
            How many threads to use; the library's default if not given.
        """
        ...


class LightgbmModel:
    """A LightGBM booster."""

    def __init__(self, bundle: Bundle, artifact: bytes) -> None:
        import lightgbm

        if b"\nend of trees" not in artifact:  # LightGBM itself loads what is left of a torn file, and scores with fewer trees
            raise BundleError(f"{bundle.artifact} is no whole LightGBM text model: its end is missing.", "take it from its source again.")
        try:
            self.booster = lightgbm.Booster(model_str=artifact.decode("utf-8"))
        except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
            raise BundleError(f"{bundle.artifact} is no LightGBM text model: {error}.", "save it with Booster.save_model.") from None
        self.bundle = bundle
        names = self.booster.feature_name()
        if len(names) != len(bundle.features):
            raise BundleError(
                f"the model has {len(names)} features, the manifest {len(bundle.features)}.", "list them all, in the model's order."
            )
        if not all(name.startswith("Column_") for name in names) and names != [n.replace(" ", "_") for n in bundle.names]:
            parted = next((a, b) for a, b in zip(names, bundle.names, strict=True) if a != b.replace(" ", "_"))
            raise BundleError(f"the model has feature {parted[0]!r} where the manifest has {parted[1]!r}.", "give the model's own order.")

    def score(self, features: pd.DataFrame, *, groups: NDArray[np.int64] | None = None, threads: int | None = None) -> NDArray[np.float64]:
        """See `Model`."""
        if not len(features):
            return np.empty(0)
        return self.score_matrix(encode(self.bundle, features), threads=threads)

    def score_matrix(self, matrix: NDArray[np.float64], *, threads: int | None = None) -> NDArray[np.float64]:
        """Raw scores of rows that are encoded already."""
        options = {} if threads is None else {"num_threads": threads}
        return np.asarray(self.booster.predict(matrix, raw_score=True, **options), dtype=np.float64)


# What scikit-learn's own trees are made of, and what its perceptrons keep of their training: numbers only; skops leaves them to its user.
# A dtype, which imputers and encoders keep, is read from an empty array of it.
_HELD = (
    "numpy.dtype",
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)


class SklearnModel:
    """A scikit-learn estimator, read by skops from a list of known types.

    Where it takes no missing values, rows that have one score NaN.
    """

    def __init__(self, bundle: Bundle, artifact: bytes) -> None:
        from skops.io import get_untrusted_types, loads

        try:
            strange = get_untrusted_types(data=artifact)
        except Exception as error:  # skops raises whatever its parts raise on foreign bytes
            raise BundleError(f"{bundle.artifact} is no skops file: {type(error).__name__}.", "save it with skops.io.dump.") from None
        strange = [kind for kind in strange if kind not in _HELD]
        if strange:
            raise BundleError(
                f"{bundle.artifact} holds types that are not allowed: {', '.join(map(str, strange))}.", "use plain scikit-learn estimators."
            )
        self.estimator: Any = loads(artifact, trusted=list(_HELD))
        self.bundle = bundle
        wanted = getattr(self.estimator, "feature_names_in_", None)
        if wanted is not None and list(wanted) != bundle.names:
            raise BundleError("the manifest's features are not the estimator's, or stand in another order.", f"it has {', '.join(wanted)}.")

    def score(self, features: pd.DataFrame, *, groups: NDArray[np.int64] | None = None, threads: int | None = None) -> NDArray[np.float64]:
        """See `Model`."""
        if not len(features):
            return np.empty(0)
        named = getattr(self.estimator, "feature_names_in_", None) is not None
        rows: Any = features if named else encode(self.bundle, features)
        try:
            return self._scores(rows)
        except ValueError:
            lost = np.asarray(pd.isna(rows)).any(axis=1)
            if not lost.any():
                raise
        out = np.full(len(rows), np.nan)  # it takes no missing values, so rows that have one have no score
        if not lost.all():
            out[~lost] = self._scores(rows[~lost])
        return out

    def _scores(self, rows: Any) -> NDArray[np.float64]:
        if hasattr(self.estimator, "decision_function"):
            scores = self.estimator.decision_function(rows)
        elif hasattr(self.estimator, "predict_proba"):
            chance = np.asarray(self.estimator.predict_proba(rows), dtype=np.float64)[:, 1]
            with np.errstate(divide="ignore"):
                scores = np.log(chance) - np.log1p(-chance)
        else:
            scores = self.estimator.predict(rows)
        return np.asarray(scores, dtype=np.float64)


_KEPT = 16
_loaded: OrderedDict[tuple[str, str, str], Model] = OrderedDict()
_lock = Lock()


def build(bundle: Bundle, artifact: bytes) -> Model:
    """A model from the bytes of its artifact. Only for bytes that were admitted, or inside the child that admits them.

    Raises
    ------
    BundleError
        If the artifact is not what the manifest says.
    """
    if bundle.kind == "composite":
        return CompositeModel(bundle, build)
    if bundle.kind == "lightgbm":
        return LightgbmModel(bundle, artifact)
    return OnnxModel(bundle, artifact) if bundle.kind == "onnx" else SklearnModel(bundle, artifact)


def load(bundle: Bundle, admission: Admission | None) -> Model:
    """The model of an admitted bundle, from the very bytes whose digests were checked. Kept in memory, the latest 16.

    Raises
    ------
    NotAdmittedError, ChangedArtifactError, BundleError
    """
    manifest, artifact = check_digests(bundle, admission)
    assert admission is not None
    # A manifest holds the digests of all its stages; what lies beside it, such as training rows, belongs to the folder.
    key = (str(bundle.folder), admission.manifest_sha256, admission.artifact_sha256)
    with _lock:
        if key in _loaded:
            _loaded.move_to_end(key)
            return _loaded[key]
    model = build(parse_manifest(manifest, bundle.folder), artifact)
    with _lock:
        _loaded[key] = model
        while len(_loaded) > _KEPT:
            _loaded.popitem(last=False)
    return model
