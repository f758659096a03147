"""Training labels held against the outcomes in the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from diagnosis.errors import MissingFeaturesError
from diagnosis.internals.row_change import RowChange, row_change
from diagnosis.internals.training_rows import TrainingRows, encoded
from diagnosis.log.records import Batch
from diagnosis.metrics.definitions import POSITIVE
from diagnosis.metrics.rows import positives
from diagnosis.models import Bundle

UNCONFIRMED = 0.5  # smallest relative change of a label rate that is named: rates in training and where items are shown differ by nature


def shown_rows(bundle: Bundle, batch: Batch, *, positive: Sequence[str] = POSITIVE, attribution_s: float = 86400.0) -> TrainingRows:
    """What the log says of the same: candidates that were shown, their features, request attributes, and as label whether they had a
    positive event; weighted by what their requests stand for.

    Raises
    ------
    MissingFeaturesError
        If the log lacks features of the model.
    """
    rows = batch.candidates
    shown = np.zeros(rows.num_rows, dtype=np.bool_)
    if "position" in rows.column_names:
        shown = np.asarray(rows.column("position").is_valid().to_numpy(), dtype=np.bool_)
    owner, place = pa.array(batch.owner[shown]), pa.array(np.flatnonzero(shown))
    sides = {"requests": (batch.requests, owner), "candidates": (rows, place)}
    lacking = [f.name for f in bundle.features if f.column not in sides[f.table][0].column_names]
    if lacking:
        raise MissingFeaturesError(lacking, f"{bundle.name} {bundle.version}")
    columns: dict[str, Any] = {name: batch.requests.column(name).take(owner) for name in batch.requests.column_names}
    columns["item_id"] = rows.column("item_id").take(place)
    columns |= {f.name: sides[f.table][0].column(f.column).take(sides[f.table][1]) for f in bundle.features}
    label = positives(batch, positive, attribution_s)[shown].astype(np.float64)
    table = pa.table({**columns, bundle.label or "label": label})
    return TrainingRows(bundle, table, encoded(bundle, table), label, batch.weights[batch.owner[shown]], int(shown.sum()))


def unconfirmed(shown: TrainingRows, training: TrainingRows, attributes: Sequence[str]) -> RowChange:
    """Training labels that the log's outcomes do not confirm: label rates by request attribute, in training and where candidates were shown.

    Rates of the two differ by nature (what was shown was chosen, and looked at); so values of an attribute are compared with each other,
    tasks are left out, whose pages differ, and only a rate that is off by half is named.

    Parameters
    ----------
    shown : TrainingRows
        See `shown_rows`.
    attributes : sequence of str
        Columns of `requests`.
    """
    only = tuple(n for n in attributes if n in training.attributes and n in shown.attributes and n != "task")
    found = row_change(shown, training, ("the log", training.bundle.version), only=only or ("",), label=UNCONFIRMED)
    return replace(found, labels_only=True)
