"""From the log to what the model was given: columns by the bundle's mapping, categories by the bundle's own codes."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from diagnosis.errors import BundleError, MissingFeaturesError, ModelError
from diagnosis.log.records import Batch
from diagnosis.models.admission import Admission, check_digests
from diagnosis.models.bundle import Bundle, Feature


@dataclass(frozen=True)
class Problem:
    """What stands in the way of a replay, or makes it less than exact.

    Attributes
    ----------
    kind : str
        ``not_admitted``, ``changed_artifact``, ``missing_feature``, ``dtype``, ``unseen_category``, ``truncated_candidates``,
        ``library_version``.
    fatal : bool
        Whether there can be no replay at all.
    """

    kind: str
    feature: str | None
    text: str
    fatal: bool


def assemble(bundle: Bundle, batch: Batch) -> pd.DataFrame:
    """What the model was given for every candidate of `batch`.

    Returns
    -------
    pandas.DataFrame
        Shape ``(n_candidates, n_features)``, rows in the order of ``batch.candidates``, columns named and ordered as in the bundle.
        ``double``, ``float``, ``long`` and ``bool`` features are float64 (null and NaN are NaN, true is 1), categories text or None.

    Raises
    ------
    MissingFeaturesError
        Naming every feature whose column the log lacks.
    BundleError
        If a column has a type that the feature cannot have.
    """
    missing = [f.name for f in bundle.features if f.column not in _table(batch, f).column_names]
    if missing:
        raise MissingFeaturesError(missing, f"{bundle.name} {bundle.version}")
    owner = batch.owner
    columns: dict[str, Any] = {}
    for feature in bundle.features:
        values = _values(feature, _table(batch, feature).column(feature.column), bundle)
        values = values if feature.table == "candidates" else values[owner]
        columns[feature.name] = pd.Series(values, dtype=object) if feature.dtype == "category" else values  # pandas would infer
    return pd.DataFrame(columns, index=pd.RangeIndex(batch.candidates.num_rows), copy=False)


def encode(bundle: Bundle, features: pd.DataFrame) -> NDArray[np.float64]:
    """Features as the matrix a tree library wants: float64, shape ``(n, n_features)``; a category is its code in the bundle.

    A category that the bundle does not know, or none, is NaN: what LightGBM itself makes of it.
    """
    matrix = np.empty((len(features), len(bundle.features)), dtype=np.float64)
    numbers = [place for place, feature in enumerate(bundle.features) if feature.dtype != "category"]
    given = features if features.columns.tolist() == bundle.names else features[bundle.names]
    matrix[:, numbers] = given.take(numbers, axis=1).to_numpy(dtype=np.float64)  # by place: by name takes four times as long
    for place, feature in enumerate(bundle.features):
        if feature.dtype == "category":
            matrix[:, place] = category_codes(feature, given[feature.name].to_numpy())
        elif feature.dtype == "float":
            matrix[:, place] = matrix[:, place].astype(np.float32)
    return matrix


def category_codes(feature: Feature, values: Iterable[str | None]) -> NDArray[np.float64]:
    """Codes of categories in the bundle's order; NaN for unknown ones and for none."""
    codes: dict[str | None, float] = {name: float(code) for code, name in enumerate(feature.categories)}
    return np.array([codes.get(value, np.nan) for value in values], dtype=np.float64)


def preflight(bundle: Bundle, batch: Batch, admission: Admission | None) -> list[Problem]:
    """Everything that can be known before scoring: digests, columns, types, categories, completeness, library versions."""
    problems = _digest_problems(bundle, admission)
    for feature in bundle.features:
        table = _table(batch, feature)
        if feature.column not in table.column_names:
            problems.append(Problem("missing_feature", feature.name, f"The log has no column {feature.source}.", True))
            continue
        try:
            values = _values(feature, table.column(feature.column), bundle)
        except BundleError as error:
            problems.append(Problem("dtype", feature.name, error.message, True))
            continue
        if feature.dtype == "category":
            unseen = sorted({str(v) for v in values if v is not None} - set(feature.categories))
            if unseen:
                shown = ", ".join(repr(v) for v in unseen[:3])
                text = f"{feature.name} holds {shown}, which training never saw; the model treats it as missing."
                problems.append(Problem("unseen_category", feature.name, text, False))
    problems += _truncation(batch)
    return problems + _library_problems(bundle)


def _digest_problems(bundle: Bundle, admission: Admission | None) -> list[Problem]:
    try:
        check_digests(bundle, admission)
    except ModelError as error:
        kind = "not_admitted" if admission is None else "changed_artifact"
        return [Problem(kind, None, error.message, True)]
    return []


def _truncation(batch: Batch) -> list[Problem]:
    names = batch.requests.column_names
    if "candidates_total" not in names or not len(batch):
        return []
    total = pc.fill_null(batch.requests.column("candidates_total"), 0).to_numpy()
    short = int((total > batch.groups).sum())
    if not short:
        return []
    text = f"{int(total.max())} candidates, {int(batch.groups[int(np.argmax(total))])} of them logged: places below the logged ones are unknown."
    return [Problem("truncated_candidates", None, text, False)]


def _library_problems(bundle: Bundle) -> list[Problem]:
    problems = []
    for library, wanted in sorted(bundle.library_versions.items()):
        try:
            found = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            problems.append(
                Problem("library_version", None, f"The model was made with {library} {wanted}, which is not installed here.", False)
            )
            continue
        if found != wanted:
            problems.append(Problem("library_version", None, f"The model was made with {library} {wanted}; here is {found}.", False))
    return problems


def _table(batch: Batch, feature: Feature) -> pa.Table:
    return batch.candidates if feature.table == "candidates" else batch.requests


def _values(feature: Feature, column: pa.ChunkedArray, bundle: Bundle) -> NDArray[np.float64]:
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), None, dtype=object) if feature.dtype == "category" else np.full(len(column), np.nan)
    if feature.dtype == "category":
        if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            raise _wrong_type(feature, kind, bundle)
        text = column if pa.types.is_string(kind) else column.cast(pa.string())
        return np.asarray(text.to_numpy(zero_copy_only=False), dtype=object)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise _wrong_type(feature, kind, bundle)
    values = column.to_numpy().astype(np.float64)
    return np.asarray(values, dtype=np.float64)


def _wrong_type(feature: Feature, kind: pa.DataType, bundle: Bundle) -> BundleError:
    return BundleError(
        f"{feature.source} is {kind} in the log, and {feature.dtype} in model {bundle.name} {bundle.version}.",
        "a feature that changes its type gets a new column name; map it in the bundle.",
    )
