"""What-if: a feature of one or all candidates set to another value, another model version, another ruleset."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import numpy as np
import pandas as pd

from diagnosis.errors import NotFoundError, near_words
from diagnosis.models import Bundle, Feature, Problem

_MISSING = ("", "nan", "null", "none")
_TRUTH = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}
_UNSAFE = re.compile(r"[%:=*,;&#+\x00-\x1f]|^\s|\s$")


@dataclass(frozen=True)
class Edit:
    """One feature set to one value.

    Attributes
    ----------
    item : str or None
        Which candidate; None is all.
    value : str, float or None
        None and NaN are missing. Text is cast to the feature's type when the edit is made.
    """

    item: str | None
    feature: str
    value: str | float | None

    def __str__(self) -> str:
        """Text form, ``item:feature=value``; parsing it gives the edit back, its value as text."""
        value = "" if self.value is None else repr(self.value) if isinstance(self.value, float) else str(self.value)
        return f"{'*' if self.item is None else _escaped(self.item)}:{_escaped(self.feature)}={_escaped(value)}"


@dataclass(frozen=True)
class Edits:
    """A what-if: edited values, another model version, another ruleset. Nothing set is a plain replay.

    Attributes
    ----------
    values : tuple of Edit
        Made in this order; a later one wins.
    model_version : str or None
        ``version`` of the model that the log names, or ``name/version``.
    """

    values: tuple[Edit, ...] = ()
    model_version: str | None = None
    ruleset: str | None = None

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return bool(self.values or self.model_version or self.ruleset)

    def __str__(self) -> str:
        """What is changed, for people."""
        parts = [str(edit) for edit in self.values]
        parts += [f"model {self.model_version}"] if self.model_version else []
        return ", ".join([*parts, f"ruleset {self.ruleset}"] if self.ruleset else parts)


NO_EDITS = Edits()


def parse_edit(text: str) -> Edit:
    """An edit from ``item:feature=value``; ``*`` is every candidate, an empty value is missing, ``%XX`` escapes a character.

    >>> parse_edit("*:price=1.5")
    Edit(item=None, feature='price', value='1.5')
    >>> parse_edit("urn:item:7:price=")
    Edit(item='urn:item:7', feature='price', value=None)

    Raises
    ------
    ValueError
        Saying what an edit looks like.
    """
    place, equals, value = text.partition("=")
    item, colon, feature = place.rpartition(":")
    if not (equals and colon and item.strip() and feature.strip()):
        raise ValueError(f"Cannot read the edit {text!r}; write item:feature=value, or *:feature=value for all candidates.")
    item = item.strip()
    return Edit(None if item == "*" else unquote(item), unquote(feature.strip()), unquote(value.strip()) or None)


def apply_edits(
    edits: Sequence[Edit], features: pd.DataFrame, items: Sequence[str], bundle: Bundle
) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """`features` (see `assemble`) with the edits made, in a copy, and what is odd about them.

    Parameters
    ----------
    items : sequence of str
        Item of each row.

    Raises
    ------
    NotFoundError
        If there is no such item, or the model has no such feature; with near names.
    ValueError
        If a value does not fit its feature.
    """
    if not edits:
        return features, ()
    edited, problems = features.copy(), []
    held = np.asarray(items, dtype=object)
    for edit in edits:
        feature = bundle.feature(edit.feature)
        if feature is None:
            raise NotFoundError("feature", edit.feature, bundle.names)
        rows = np.ones(len(held), dtype=np.bool_) if edit.item is None else held == edit.item
        if edit.item is not None and not rows.any():
            raise NotFoundError("candidate", edit.item, items)
        value = cast_value(feature, edit.value)
        edited.loc[rows, feature.name] = value
        if isinstance(value, str) and value not in feature.categories:
            near = near_words(value, feature.categories)
            text = f"Training never saw {feature.name} {value!r}; the model treats it as missing"
            problems.append(
                Problem("unseen_category", feature.name, text + (f" (did you mean {near[0]!r}?)." if near else "."), fatal=False)
            )
    return edited, tuple(problems)


def cast_value(feature: Feature, value: str | float | None) -> float | str | None:
    """`value` as the feature's type; missing is NaN, of a category None. Text ``nan`` and ``null`` is missing where it is no category.

    Raises
    ------
    ValueError
        If it does not fit.
    """
    if feature.dtype == "category":
        missing = value is None or (isinstance(value, float) and math.isnan(value))
        return None if missing or (str(value).lower() in _MISSING and str(value) not in feature.categories) else str(value)
    if value is None or str(value).strip().lower() in _MISSING:
        return math.nan
    text = str(value).strip().lower()
    if feature.dtype == "bool" or text in ("true", "false"):
        if text.removesuffix(".0") not in _TRUTH:
            raise ValueError(f"{value!r} does not fit {feature.name}, which is a bool; write true or false.")
        return _TRUTH[text.removesuffix(".0")]
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{value!r} does not fit {feature.name}, which is a {feature.dtype}; write a number.") from None
    if feature.dtype == "long" and not number.is_integer():
        raise ValueError(f"{value!r} does not fit {feature.name}, which is a long; write a whole number.")
    return number


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found.group().encode()), text)
