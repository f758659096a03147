"""Candidates of each request, their features as the upstreams had them at that time, and how relevant they truly are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sample_data.chance import mixed, pairs, uniform
from sample_data.history import History
from sample_data.traffic import TASKS, Traffic
from sample_data.world import COUNTRIES, LANGUAGES, SPOKEN, World

RETRIEVERS = ("taste", "popular", "fresh")
QUOTA = (20, 13, 8)  # of 40
SENTINEL = -1.0
WIDTH = 40
AGED = {"item_stats_daily": ("item_ctr", "item_clicks_7d", "item_impressions_7d"),
        "member_genre_daily": ("member_genre_plays", "member_genre_affinity", "member_recent_share", "member_plays")}  # fmt: skip
CONTEXT = ("task", "device", "country", "hour_of_day", "member_plays", "days_since_last_visit", "bandwidth_mbps")
_COUNTRY_LIKES = np.array([0.1, 0.05, 0.0, -0.3, 0.0, -0.35])
_DEVICE_LIKES = np.array([-0.1, 0.2, 0.05, -0.3])
_BANK = 4096


@dataclass(frozen=True, eq=False)
class Candidates:
    """What each request chose from.

    Attributes
    ----------
    item : array of int, shape (requests, width)
    proposed : array of bool, shape (requests, width, retrievers)
        By which retrievers.
    columns : dict of str to array of float
        Features as logged; NaN is missing. Categories are codes; codes past the ranker's own are new names. Shape (requests, width), those
        of `CONTEXT` (requests,).
    valued : dict of str to array of float, shape (requests,)
        The day that each feature with a `__at` is from.
    relevance : array of float, shape (requests, width)
        Log-odds that a member who looks at the item likes it. The log never shows it.
    """

    item: NDArray[np.int64]
    proposed: NDArray[np.bool_]
    columns: dict[str, NDArray[np.float64]]
    valued: dict[str, NDArray[np.float64]]
    relevance: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Candidates:
        """Those of some requests."""
        columns, valued = ({k: v[rows] for k, v in values.items()} for values in (self.columns, self.valued))
        return Candidates(self.item[rows], self.proposed[rows], columns, valued, self.relevance[rows])

    def having(self, **columns: NDArray[np.float64]) -> Candidates:
        """The same with other values in some columns."""
        return replace(self, columns={**self.columns, **columns})


@lru_cache(maxsize=4)
def _bank(seed: int, items: int) -> NDArray[np.float32]:
    """Noise of the retrievers: rows that requests point to, so that a request meets the same noise wherever it stands."""
    return np.random.default_rng([seed, 3]).gumbel(size=(_BANK, items)).astype(np.float32)


def retrieve(
    world: World, history: History, traffic: Traffic, seed: int, width: int = WIDTH, without: tuple[int, int] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Items of each request and which retrievers proposed them; shapes (requests, width) and (requests, width, 3).

    Parameters
    ----------
    without : (retriever, genre), optional
        Codes of a genre that a retriever does not propose.
    """
    found = [
        _retrieved(world, history, traffic.take(np.arange(start, min(start + 2000, len(traffic)))), seed, width, without)
        for start in range(0, len(traffic), 2000)
    ]
    if not found:
        return np.empty((0, width), dtype=np.int64), np.empty((0, width, 3), dtype=np.bool_)
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _retrieved(
    world: World, history: History, part: Traffic, seed: int, width: int, without: tuple[int, int] | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    day = history.place(part.at)
    bank = _bank(seed, len(world.genre))
    popular = history.popular[day]
    gone = part.at[:, None] < world.launched[None, :]
    liked = np.log(history.taste[np.maximum(day - 1, 0), part.who] + np.float32(0.02))[:, world.genre]
    age = (part.at[:, None] - world.launched[None, :]).astype(np.float32)
    keys = [
        np.float32(3.0) * liked + np.float32(0.7) * popular + bank[mixed(part.key, 40) % _BANK],
        np.float32(1.5) * popular + bank[mixed(part.key, 41) % _BANK],
        age / np.float32(-12.0) + bank[mixed(part.key, 42) % _BANK],
    ]
    for number, key in enumerate(keys):
        key[gone] = -1e9
        if without is not None and without[0] == number:
            key[:, world.genre == without[1]] = -1e8
    chosen = np.zeros((3, *age.shape), dtype=np.bool_)
    for number, quota in enumerate(QUOTA):
        best = np.argpartition(-keys[number], round(quota * width / WIDTH), axis=1)[:, : round(quota * width / WIDTH)]
        np.put_along_axis(chosen[number], best, True, axis=1)
        chosen[number] &= keys[number] > -1e7
    wanted = np.where(chosen.any(axis=0), np.float32(1000.0), np.float32(0.0)) + np.maximum(keys[0], np.float32(-900.0))
    wanted[gone] = -1e9
    top = np.sort(np.argpartition(-wanted, width, axis=1)[:, :width], axis=1)
    by = np.stack([np.take_along_axis(chosen[number], top, axis=1) for number in range(3)], axis=-1)
    by[..., 0] |= ~by.any(axis=-1)
    return top, by


def make_candidates(world: World, history: History, traffic: Traffic, seed: int, width: int = WIDTH) -> Candidates:
    """Candidates of every request with their features and true relevance."""
    item, proposed = retrieve(world, history, traffic, seed, width)
    return describe(world, history, traffic, item, proposed)


def describe(world: World, history: History, traffic: Traffic, item: NDArray[np.int64], proposed: NDArray[np.bool_]) -> Candidates:
    """Features and true relevance of given items."""
    genre = world.genre[item]
    pair = pairs(traffic.key, item)
    match = np.clip(0.75 * (genre == traffic.query_genre[:, None]) + 0.35 * uniform(pair, 43), 0, 1)
    alike = (genre == world.genre[traffic.seed_item][:, None]) * 0.6
    alike = np.clip(alike + 0.4 * np.exp(-np.abs(world.quality[item] - world.quality[traffic.seed_item][:, None])), 0, 1)
    search, related = (traffic.task == TASKS.index(t) for t in ("search", "related"))
    today = np.floor(traffic.at)
    columns = {
        "item_age_days": np.floor(traffic.at[:, None] - world.launched[item]),
        "genre": genre.astype(np.float64),
        "language": world.language[item].astype(np.float64),
        "runtime_min": world.runtime[item].astype(np.float64),
        "item_rating": world.rating[item],
        "query_match": np.where(search[:, None], np.round(match, 4), SENTINEL),
        "seed_similarity": np.where(related[:, None], np.round(alike, 4), SENTINEL),
        "task": traffic.task.astype(np.float64),
        "device": traffic.device.astype(np.float64),
        "country": traffic.country.astype(np.float64),
        "hour_of_day": np.floor(traffic.at % 1 * 24),
        "days_since_last_visit": traffic.since_last,
        "bandwidth_mbps": np.round(np.exp(2.5 + 1.0 * uniform(traffic.key, 44) + 0.4 * (traffic.device == 1)), 1),
    }
    columns |= item_features(history, item, today) | member_features(history, traffic, genre, today)
    valued = {name: today for names in AGED.values() for name in names}
    return Candidates(item, proposed, columns, valued, _relevance(world, history, traffic, item, match, alike))


def item_features(history: History, item: NDArray[np.int64], day: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """What `item_stats_daily` had on given days; shape (requests, width)."""
    place = history.place(day)[:, None]
    shown, clicks = (values[place, item].astype(np.float64) for values in (history.impressions_7d, history.clicks_7d))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(shown > 0, clicks / shown, np.nan)
    return {"item_ctr": ratio, "item_clicks_7d": clicks, "item_impressions_7d": shown}


def member_features(
    history: History, traffic: Traffic, genre: NDArray[np.int64], day: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """What `member_genre_daily` had on given days; `member_plays` has shape (requests,)."""
    place = history.place(day)
    by_genre = history.genre_plays[place, traffic.who].astype(np.float64)
    plays = np.maximum(by_genre.sum(axis=1), 1.0)
    genre_plays = np.take_along_axis(by_genre, genre, axis=1)
    recent = np.take_along_axis(history.recent[place, traffic.who].astype(np.float64), genre, axis=1)
    return {
        "member_genre_plays": genre_plays,
        "member_genre_affinity": genre_plays / plays[:, None],
        "member_recent_share": np.round(recent, 4),
        "member_plays": plays,
    }


def as_of(
    world: World, history: History, traffic: Traffic, candidates: Candidates, day: NDArray[np.float64], names: tuple[str, ...]
) -> Candidates:
    """The same with some features as their upstream had them on other days; `day` has shape (requests,)."""
    had: Mapping[str, NDArray[np.float64]] = item_features(history, candidates.item, day) | member_features(
        history, traffic, world.genre[candidates.item], day
    )
    valued = candidates.valued | {name: np.floor(day) for name in names}
    return replace(candidates.having(**{name: had[name] for name in names}), valued=valued)


def _relevance(
    world: World, history: History, traffic: Traffic, item: NDArray[np.int64], match: NDArray[np.float64], alike: NDArray[np.float64]
) -> NDArray[np.float64]:
    age = traffic.at[:, None] - world.launched[item]
    day = history.place(traffic.at)
    spoken = np.array([LANGUAGES.index(SPOKEN[c]) for c in COUNTRIES])[traffic.country]
    extra = np.select(
        [traffic.task[:, None] == TASKS.index(t) for t in ("search", "related", "notification")],
        [3.0 * match - 1.2, 2.0 * alike - 1.0, np.full(item.shape, -0.6)],
        0.0,
    )
    liked = np.take_along_axis(history.taste[day, traffic.who].astype(np.float64), world.genre[item], axis=1)
    return np.asarray(
        -2.4
        + history.level[day][:, None]
        + (_COUNTRY_LIKES[traffic.country] + _DEVICE_LIKES[traffic.device])[:, None]
        + 4.5 * liked
        + 0.75 * history.quality[day[:, None], item]
        + 0.6 * np.exp(-np.maximum(age, 0.0) / 20.0)
        + world.appeal[world.genre[item]]
        - 1.1 * (world.language[item] != spoken[:, None])
        + 0.004 * (world.runtime[item] - 80) * np.where(traffic.device == 1, 1.0, -0.6)[:, None]
        + extra
    )
