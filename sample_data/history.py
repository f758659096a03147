"""What changes from day to day: what items are worth and how often they were shown, what members are in the mood for and have played."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sample_data.world import World, popularity_on

FIRST_DAY = -50  # features are known from here on
_WARM = 28


@dataclass(frozen=True, eq=False)
class History:
    """Day by day; the first axis of every array is the day, from `FIRST_DAY`.

    What carries `_7d` or `_28d` sums the days *before* that day: it is what a job at midnight can know.

    Attributes
    ----------
    quality : array of float32, shape (days, items)
        How good each item is felt to be.
    popular : array of float32, shape (days, items)
        Logarithm of popularity and quality together; very low before the launch.
    impressions_7d, clicks_7d : arrays of int, shape (days, items)
    taste : array of float32, shape (days, members, genres)
        Shares that add to 1: the lasting taste and the mood of the day.
    genre_plays : array of int32, shape (days, members, genres)
        Plays of 28 days.
    recent : array of float32, shape (days, members, genres)
        Share of what was watched lately, by time watched; a day counts 0.7 of the one after.
    level : array of float, shape (days,)
        Log-odds by which everything is liked more or less, so that days of a healthy service are alike.
    """

    quality: NDArray[np.float32]
    popular: NDArray[np.float32]
    impressions_7d: NDArray[np.int64]
    clicks_7d: NDArray[np.int64]
    taste: NDArray[np.float32]
    genre_plays: NDArray[np.int32]
    recent: NDArray[np.float32]
    level: NDArray[np.float64]

    def place(self, day: NDArray[np.float64]) -> NDArray[np.int64]:
        """Where a day stands on the first axis."""
        return np.clip(np.floor(day).astype(np.int64) - FIRST_DAY, 0, len(self.quality) - 1)


@dataclass(frozen=True, eq=False)
class _Items:
    quality: NDArray[np.float32]
    popular: NDArray[np.float32]
    impressions_7d: NDArray[np.int64]
    clicks_7d: NDArray[np.int64]


def make_history(world: World, seed: int, days: int) -> History:
    """The days from `FIRST_DAY` to the end of the log."""
    items = _items(world, seed, days)
    taste, plays, recent = _members(world, seed, days)
    return History(items.quality, items.popular, items.impressions_7d, items.clicks_7d, taste, plays, recent, np.zeros(len(taste)))


def with_items(history: History, world: World, seed: int, days: int) -> History:
    """The same members with the items of another world; items that are in both keep their days."""
    items = _items(world, seed, days)
    names = ("quality", "popular", "impressions_7d", "clicks_7d")
    return replace(history, **{name: getattr(items, name) for name in names})


def _items(world: World, seed: int, days: int) -> _Items:
    rng = np.random.default_rng([seed, 4])
    n, first = len(world.genre), FIRST_DAY - 7
    total = days - first
    day = np.arange(first, days, dtype=np.float64)
    popularity = popularity_on(world, day)
    quality = world.quality[None, :] + _walk(rng, (total, n), 0.9) * 0.55
    shown = np.floor(popularity * 560 * np.exp(rng.normal(0, 0.1, popularity.shape)))
    chance = 1 / (1 + np.exp(-(-2.6 + 0.55 * quality)))
    luck = rng.normal(size=popularity.shape)
    clicks = np.clip(np.round(shown * chance + np.sqrt(shown * chance * (1 - chance)) * luck), 0, shown)
    with np.errstate(divide="ignore"):
        popular = np.log(np.maximum(popularity, 1e-30)) + 0.4 * quality
    week = [_before(values, 7)[7:].astype(np.int64) for values in (shown, clicks)]
    return _Items(quality[7:].astype(np.float32), popular[7:].astype(np.float32), *week)


def _members(world: World, seed: int, days: int) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    rng = np.random.default_rng([seed, 5])
    total = days - FIRST_DAY + _WARM
    mood = _walk(rng, (total, *world.taste.shape), 0.9).astype(np.float32)
    taste = np.asarray(world.taste + 0.01, dtype=np.float32) * np.exp(0.9 * mood)
    taste /= taste.sum(axis=2, keepdims=True)
    played = rng.poisson(world.plays[None, :, None] / 28.0 * taste).astype(np.int32)
    watched = taste * rng.gamma(4.0, 0.25, taste.shape).astype(np.float32)
    recent = np.empty_like(taste)
    held = watched[0]
    for day in range(total):
        recent[day] = held / held.sum(axis=1, keepdims=True)
        held = 0.7 * held + watched[day]
    return taste[_WARM:], _before(played, 28)[_WARM:].astype(np.int32), np.round(recent[_WARM:], 4)


def _walk(rng: np.random.Generator, shape: tuple[int, ...], keeps: float) -> NDArray[np.float32]:
    """A wandering of variance 1 along the first axis, of which each day keeps a share; of half the usual width, for memory."""
    steps = rng.standard_normal(shape, dtype=np.float32)
    for day in range(1, shape[0]):
        steps[day] = keeps * steps[day - 1] + np.float32(np.sqrt(1 - keeps**2)) * steps[day]
    return steps


def _before(values: NDArray[np.float64] | NDArray[np.int32], days: int) -> NDArray[np.float64]:
    """Sums of the `days` days before each day."""
    total = np.cumsum(values, axis=0, dtype=np.float64)
    total = np.concatenate([np.zeros_like(total[:1]), total])
    return total[np.arange(len(values))] - total[np.maximum(np.arange(len(values)) - days, 0)]
