"""Whom incidents hit: slices of the traffic."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sample_data.incidents.way import Slice
from sample_data.traffic import APP_VERSIONS, ENVIRONMENTS, LAYOUTS, TASKS, Traffic
from sample_data.world import COUNTRIES, DEVICES

ITEM_ATTRIBUTES = ("genre",)  # what a slice may name beside attributes of requests
_VALUES = {
    "device": DEVICES,
    "country": COUNTRIES,
    "environment": ENVIRONMENTS,
    "task": TASKS[:3],  # pages of notifications are so short that hardly anything can be seen on them
    "app_version": APP_VERSIONS,
    "experiments.layout": LAYOUTS,
}
_SAME = ({"country", "environment"},)  # say nearly the same


def within(traffic: Traffic, where: Slice) -> NDArray[np.bool_]:
    """Which requests a slice holds; what it says of items is not asked."""
    held = np.ones(len(traffic), dtype=np.bool_)
    for attribute, values in where.items():
        if attribute not in ITEM_ATTRIBUTES:
            held &= np.isin(traffic.attribute(attribute).astype(str), values)
    return held


def narrowed(base: Slice, over: tuple[str, ...]) -> list[Slice]:
    """`base`, and what it becomes when one or two attributes out of `over` are held to one value; at most two attributes in all."""
    named = [name for name in base if name not in ITEM_ATTRIBUTES]
    found = [base]
    for more in range(1, 3 - len(named)):
        for names in combinations([name for name in over if name not in base], more):
            if any(same <= {*names, *named} for same in _SAME):
                continue
            found += [{**base, **dict(zip(names, ([v] for v in chosen), strict=True))} for chosen in _products(names)]
    return found


def _products(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    if len(names) == 1:
        return [(value,) for value in _VALUES[names[0]]]
    return [(a, b) for a in _VALUES[names[0]] for b in _VALUES[names[1]]]
