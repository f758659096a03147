"""What-if: a feature of one or all candidates set to another value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd

from diagnosis.errors import NotFoundError
from diagnosis.log.records import Request
from diagnosis.models import Bundle, Feature


@dataclass(frozen=True)
class Edit:
    """One feature set to one value.

    Attributes
    ----------
    item : str or None
        Which candidate; None is all.
    value : str or None
        As written; None is missing.
    """

    item: str | None
    feature: str
    value: str | None

    def __str__(self) -> str:
        """Text form, ``item:feature=value``; parsing it gives the edit back."""
        item = "*" if self.item is None else quote(self.item, safe=" ")
        return f"{item}:{quote(self.feature, safe=' ')}={'' if self.value is None else quote(self.value, safe=' :/')}"


@dataclass(frozen=True)
class Edits:
    """A what-if: edited values, another model version, another ruleset. Nothing set is a plain replay."""

    values: tuple[Edit, ...] = ()
    model_version: str | None = None
    ruleset: str | None = None

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return bool(self.values or self.model_version or self.ruleset)


NO_EDITS = Edits()


def parse_edit(text: str) -> Edit:
    """An edit from ``item:feature=value``; ``*`` is every candidate, an empty value is missing, ``%XX`` escapes a character.

    >>> parse_edit("*:price=1.5")
    Edit(item=None, feature='price', value='1.5')

    Raises
    ------
    ValueError
    """
    place, equals, value = text.partition("=")
    item, colon, feature = place.partition(":")
    if not (equals and colon and item.strip() and feature.strip()):
        raise ValueError(f"Cannot read the edit {text!r}; write item:feature=value, or *:feature=value for all candidates.")
    item = unquote(item.strip())
    return Edit(None if item == "*" else item, unquote(feature.strip()), unquote(value.strip()) or None)


def apply_edits(edits: tuple[Edit, ...], features: pd.DataFrame, request: Request, bundle: Bundle) -> pd.DataFrame:
    """`features` (see `assemble`) with the edits made, in a copy.

    Raises
    ------
    NotFoundError
        If the request has no such item or the model no such feature.
    ValueError
        If a value does not fit its feature.
    """
    if not edits:
        return features
    edited = features.copy()
    items = np.asarray(request.items, dtype=object)
    for edit in edits:
        feature = bundle.feature(edit.feature)
        if feature is None:
            raise NotFoundError("feature", edit.feature, bundle.names)
        rows = np.ones(len(items), dtype=np.bool_) if edit.item is None else items == edit.item
        if not rows.any():
            raise NotFoundError("candidate", str(edit.item), request.items)
        edited.loc[rows, feature.name] = _value(feature, edit)
    return edited


def _value(feature: Feature, edit: Edit) -> float | str | None:
    if feature.dtype == "category":
        return edit.value
    if edit.value is None:
        return math.nan
    if edit.value.lower() in ("true", "false"):
        return float(edit.value.lower() == "true")
    try:
        return float(edit.value)
    except ValueError:
        raise ValueError(f"{edit.value!r} does not fit {feature.name}, which is a {feature.dtype}.") from None
