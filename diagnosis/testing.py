"""Models with closed-form scores and tiny requests, for tests: ours and yours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.log.records import Batch, Request
from diagnosis.models.bundle import Bundle, Feature

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


class LinearModel:
    """Scores are a weighted sum of candidate features.

    >>> LinearModel(price=-1.0, ctr=2.0).score(pd.DataFrame({"price": [1.0], "ctr": [0.5]})).tolist()
    [0.0]
    """

    def __init__(self, *, name: str = "linear", version: str = "1", **coefficients: float) -> None:
        self.coefficients = coefficients
        features = tuple(Feature(feature, f"candidates.{feature}") for feature in coefficients)
        self.bundle = Bundle(folder=Path(), name=name, version=version, kind="sklearn", artifact="none", features=features)

    def score(self, features: pd.DataFrame, *, groups: NDArray[np.int64] | None = None, threads: int | None = None) -> NDArray[np.float64]:
        """See `diagnosis.models.Model`."""
        total = np.zeros(len(features))
        for name, weight in self.coefficients.items():
            total = total + weight * features[name].to_numpy(dtype=np.float64)
        return total


def make_request(
    request_id: str = "r1", items: Sequence[str] | None = None, request: dict[str, Any] | None = None, **columns: Sequence[Any]
) -> Request:
    """A request of a few candidates.

    Parameters
    ----------
    items : sequence of str, optional
        Item ids; ``a``, ``b``, ``c`` … when not given.
    request : dict, optional
        Attributes of the request, over a homepage request that model ``linear`` version 1 served with status ``ok``.
    **columns
        Columns of its candidates. With ``score``, ``rank`` is by it and ``position`` is the rank, unless given.

    >>> make_request(score=[1.0, 2.0]).candidates["rank"].tolist()
    [2, 1]
    """
    n = len(next(iter(columns.values()))) if columns else len(items or ())
    names = list(items) if items is not None else [chr(ord("a") + i) for i in range(n)]
    if "score" in columns and "rank" not in columns:
        scores = pd.Series([np.nan if v is None else v for v in columns["score"]], dtype="float64")
        ranks = scores.rank(ascending=False, method="first")
        columns["rank"] = [None if np.isnan(r) else int(r) for r in ranks]
    if "rank" in columns and "position" not in columns:
        columns["position"] = columns["rank"]
    row = {
        "request_id": request_id,
        "served_at": NOON,
        "date": NOON.date(),
        "task": "homepage",
        "model": "linear",
        "model_version": "1",
        "status": "ok",
        "slots": n,
        "keep_probability": 1.0,
        **(request or {}),
    }
    table = {name: _array(name, values) for name, values in columns.items()}
    candidates = pa.table({"request_id": pa.array([request_id] * n, pa.string()), "item_id": pa.array(names, pa.string()), **table})
    outcomes = pa.table({"request_id": pa.array([], pa.string()), "item_id": pa.array([], pa.string()), "event": pa.array([], pa.string())})
    requests = pa.Table.from_pylist([row])
    return Request(row, _timed(requests), candidates, outcomes)


def make_batch(*requests: Request) -> Batch:
    """Several requests together; columns that one of them lacks are null."""
    return Batch(
        pa.concat_tables([r.requests for r in requests], promote_options="default"),
        pa.concat_tables([r.table for r in requests], promote_options="default"),
        pa.concat_tables([r.outcomes for r in requests], promote_options="default"),
    )


def _array(name: str, values: Sequence[Any]) -> pa.Array:
    kinds: dict[str, pa.DataType] = {
        "rank": pa.int64(),
        "position": pa.int64(),
        "score": pa.float64(),
        "dropped_by": pa.string(),
        "retrievers": pa.list_(pa.string()),
    }
    return pa.array(list(values), kinds.get(name))


def _timed(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.timestamp("us", "UTC")))
    return table
