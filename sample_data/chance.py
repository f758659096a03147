"""Chances that belong to things, not to places in an array: the same request meets the same luck in every version of a log."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
_GOLDEN, _A, _B = 0x9E3779B97F4A7C15, np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mixed(keys: NDArray[np.int64] | Keys, stage: int = 0) -> Keys:
    """64 bits of each key, another set for every stage (SplitMix64, Steele et al. 2014)."""
    x = np.asarray(keys).astype(np.uint64) + np.uint64((stage + 1) * _GOLDEN % 2**64)
    x ^= x >> np.uint64(30)
    x *= _A
    x ^= x >> np.uint64(27)
    x *= _B
    x ^= x >> np.uint64(31)
    return x


def uniform(keys: NDArray[np.int64] | Keys, stage: int) -> NDArray[np.float64]:
    """A number in [0, 1) of each key; the shape is that of `keys`."""
    return (mixed(keys, stage) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def pairs(keys: Keys, others: NDArray[np.int64]) -> Keys:
    """A key of each pair; `others` has shape (n, width) for n keys."""
    return mixed(keys, 1)[:, None] ^ mixed(others, 2)


def normal(keys: NDArray[np.int64] | Keys, stage: int) -> NDArray[np.float64]:
    """A standard normal number of each key (Box and Muller 1958)."""
    radius = np.sqrt(-2.0 * np.log1p(-uniform(keys, 2 * stage + 1_000)))
    return np.asarray(radius * np.cos(2.0 * np.pi * uniform(keys, 2 * stage + 1_001)))


def exponential(keys: NDArray[np.int64] | Keys, stage: int) -> NDArray[np.float64]:
    """An exponential number of mean 1 of each key."""
    return -np.log1p(-uniform(keys, stage))


def one_of(keys: NDArray[np.int64] | Keys, stage: int, shares: NDArray[np.float64] | list[float]) -> NDArray[np.int64]:
    """A code of each key, drawn with the given shares."""
    edges = np.cumsum(np.asarray(shares, dtype=np.float64))
    return np.minimum(np.searchsorted(edges / edges[-1], uniform(keys, stage), side="right"), len(edges) - 1)
