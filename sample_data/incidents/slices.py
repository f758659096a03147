"""Whom incidents hit: slices of the traffic, small and large."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sample_data.incidents.way import Slice
from sample_data.traffic import Traffic

ITEM_ATTRIBUTES = ("genre",)  # what a slice may name beside attributes of requests
SMALL: tuple[Slice, ...] = (
    {"device": ["web"]},
    {"device": ["tablet"]},
    {"country": ["gb"]},
    {"country": ["de"]},
    {"country": ["jp"]},
    {"environment": ["ap-1"]},
    {"environment": ["sa-1"]},
    {"task": ["search"]},
    {"app_version": ["8.1"]},
    {"device": ["tv"], "environment": ["us-1"]},
    {"device": ["phone"], "country": ["us"]},
    {"device": ["tv"], "experiments.layout": ["b"]},
    {"device": ["phone"], "app_version": ["8.3"]},
    {"task": ["homepage"], "environment": ["eu-1"]},
    {"task": ["homepage"], "device": ["tv"]},
)
LARGE: tuple[Slice, ...] = (
    {},
    {"device": ["phone"]},
    {"device": ["tv"]},
    {"environment": ["us-1"]},
    {"environment": ["eu-1"]},
    {"task": ["homepage"]},
    {"task": ["related"]},
    {"country": ["us"]},
    {"app_version": ["8.2"]},
    {"experiments.layout": ["b"]},
)


def ordered(rng: np.random.Generator) -> list[Slice]:
    """All slices, in half of the cases the small ones first; the other ones stand behind for incidents that are too weak there."""
    small, large = ([group[i] for i in rng.permutation(len(group))] for group in (SMALL, LARGE))
    return small + large if rng.random() < 0.5 else large + small


def within(traffic: Traffic, where: Slice) -> NDArray[np.bool_]:
    """Which requests a slice holds; what it says of items is not asked."""
    held = np.ones(len(traffic), dtype=np.bool_)
    for attribute, values in where.items():
        if attribute not in ITEM_ATTRIBUTES:
            held &= np.isin(traffic.attribute(attribute).astype(str), values)
    return held


def naming(slices: list[Slice], *attributes: str) -> list[Slice]:
    """Slices over one of some attributes alone."""
    return [where for where in slices if len(where) == 1 and set(where) <= set(attributes)]


def of_task(slices: list[Slice], task: str) -> list[Slice]:
    """The slices, limited to a task."""
    limited = [{"task": [task], **where} for where in slices if "task" not in where]
    return [where for where in limited if len(where) < 3] or [{"task": [task]}]
