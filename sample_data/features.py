"""Candidates of each request, their features as the upstreams had them at that time, and how relevant they truly are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sample_data.traffic import TASKS, Traffic
from sample_data.world import COUNTRIES, LANGUAGES, SPOKEN, World, popularity_on

RETRIEVERS = ("taste", "popular", "fresh")
SENTINEL = -1.0
CAMPAIGN, CAMPAIGN_GENRE = (3.0, 5.0), 7  # days, and the genre that it advertises
_WIDTH = 40


@dataclass(frozen=True, eq=False)
class Candidates:
    """What each request chose from.

    Attributes
    ----------
    item : array of int, shape (requests, width)
    proposed : array of bool, shape (requests, width, retrievers)
        By which retrievers.
    columns : dict of str to array of float, shape (requests, width)
        Features as the model is given them; NaN is missing. Categories are codes.
    relevance : array of float, shape (requests, width)
        Log-odds that a member who looks at the item likes it. The log never shows it.
    """

    item: NDArray[np.int64]
    proposed: NDArray[np.bool_]
    columns: dict[str, NDArray[np.float64]]
    relevance: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Candidates:
        """Those of some requests."""
        return Candidates(self.item[rows], self.proposed[rows], {k: v[rows] for k, v in self.columns.items()}, self.relevance[rows])

    def having(self, **columns: NDArray[np.float64]) -> Candidates:
        """The same with other values in some columns."""
        return replace(self, columns={**self.columns, **columns})


def retrieve(world: World, traffic: Traffic, seed: int, width: int = _WIDTH) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Items of each request and which retrievers proposed them; shapes (requests, width) and (requests, width, 3)."""
    items, proposed = [], []
    for start in range(0, len(traffic), 2000):
        part = traffic.take(np.arange(start, min(start + 2000, len(traffic))))
        rng = np.random.default_rng([seed, 3, start])
        popular = popularity_on(world, np.floor(part.at)) * np.exp(0.4 * world.quality)
        live = popularity_on(world, part.at) > 0
        noise = rng.gumbel(size=(3, *live.shape)).astype(np.float32)
        age = part.at[:, None] - world.launched[None, :]
        keys = np.stack(
            [
                3.0 * np.log(world.taste[part.who][:, world.genre] + 0.02) + 0.7 * np.log(popular + 1e-9) + noise[0],
                1.5 * np.log(popular + 1e-9) + noise[1],
                -age / 12.0 + noise[2],
            ]
        )
        keys = np.where(live, keys, -np.inf)
        chosen = np.zeros((3, *live.shape), dtype=np.bool_)
        for number, quota in enumerate((width // 2, width // 3, width // 5)):
            best = np.argpartition(-keys[number], quota, axis=1)[:, :quota]
            np.put_along_axis(chosen[number], best, True, axis=1)
        wanted = chosen.any(axis=0) * 100.0 + np.maximum(keys[0], -90.0) / 10.0
        wanted[~live] = -1e9
        top = np.argpartition(-wanted, width, axis=1)[:, :width]
        top = np.take_along_axis(top, np.argsort(top, axis=1), axis=1)
        by = np.stack([np.take_along_axis(chosen[number], top, axis=1) for number in range(3)], axis=-1)
        by[..., 0] |= ~by.any(axis=-1)
        items.append(top)
        proposed.append(by)
    return np.concatenate(items), np.concatenate(proposed)


def make_candidates(world: World, traffic: Traffic, seed: int, width: int = _WIDTH) -> Candidates:
    """Candidates of every request with their features and true relevance."""
    item, proposed = retrieve(world, traffic, seed, width)
    day = np.floor(traffic.at).astype(np.int64)
    impressions, clicks = item_statistics(world, seed, day)
    place = (day - day.min())[:, None]
    shape = item.shape
    genre = world.genre[item]
    plays = world.plays[traffic.who] + day - day.min()
    genre_plays = np.minimum(world.genre_plays[traffic.who[:, None], genre], plays[:, None])
    match = np.clip(0.75 * (genre == traffic.query_genre[:, None]) + 0.35 * _noise(seed, 5, traffic, item), 0, 1)
    alike = (genre == world.genre[traffic.seed_item][:, None]) * 0.6
    alike = np.clip(alike + 0.4 * np.exp(-np.abs(world.quality[item] - world.quality[traffic.seed_item][:, None])), 0, 1)
    search, related = (traffic.task == TASKS.index(t) for t in ("search", "related"))
    shown = impressions[place, item]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(shown > 0, clicks[place, item] / shown, np.nan)
        affinity = genre_plays / plays[:, None]
    columns = {
        "item_ctr": ratio,
        "item_clicks_7d": clicks[place, item].astype(np.float64),
        "item_impressions_7d": shown.astype(np.float64),
        "item_age_days": np.floor(traffic.at[:, None] - world.launched[item]),
        "genre": genre.astype(np.float64),
        "language": world.language[item].astype(np.float64),
        "runtime_min": world.runtime[item].astype(np.float64),
        "member_genre_plays": genre_plays.astype(np.float64),
        "member_genre_affinity": affinity,
        "query_match": np.where(search[:, None], np.round(match, 4), SENTINEL),
        "seed_similarity": np.where(related[:, None], np.round(alike, 4), SENTINEL),
        "task": np.broadcast_to(traffic.task[:, None], shape).astype(np.float64),
        "device": np.broadcast_to(traffic.device[:, None], shape).astype(np.float64),
        "country": np.broadcast_to(traffic.country[:, None], shape).astype(np.float64),
        "hour_of_day": np.broadcast_to(np.floor(traffic.at % 1 * 24)[:, None], shape),
        "member_plays": np.broadcast_to(plays[:, None], shape).astype(np.float64),
        "days_since_last_visit": np.broadcast_to(traffic.since_last[:, None], shape),
    }
    return Candidates(item, proposed, columns, _relevance(world, traffic, item, match, alike))


def item_statistics(world: World, seed: int, day: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Impressions and clicks of the seven days before each day; shape (days from the first to the last of `day`, items)."""
    rng = np.random.default_rng([seed, 4])
    days = np.arange(day.min(), day.max() + 1)
    past = np.mean([popularity_on(world, days - float(back)) for back in range(1, 8)], axis=0)
    impressions = np.floor(past * 4000 * np.exp(rng.normal(0, 0.05, past.shape))).astype(np.int64)
    chance = 1 / (1 + np.exp(-(-2.6 + 0.55 * world.quality)))
    return impressions, rng.binomial(impressions, chance)


def _relevance(
    world: World, traffic: Traffic, item: NDArray[np.int64], match: NDArray[np.float64], alike: NDArray[np.float64]
) -> NDArray[np.float64]:
    age = traffic.at[:, None] - world.launched[item]
    spoken = np.array([LANGUAGES.index(SPOKEN[c]) for c in COUNTRIES])[traffic.country]
    extra = np.select(
        [traffic.task[:, None] == TASKS.index(t) for t in ("search", "related", "notification")],
        [3.0 * match - 1.2, 2.0 * alike - 1.0, np.full(item.shape, -0.6)],
        0.0,
    )
    campaign = (traffic.at >= CAMPAIGN[0]) & (traffic.at < CAMPAIGN[1])
    return (
        -2.3
        + 0.5 * (campaign[:, None] & (world.genre[item] == CAMPAIGN_GENRE))
        + 4.5 * world.taste[traffic.who[:, None], world.genre[item]]
        + 0.75 * world.quality[item]
        + 0.6 * np.exp(-age / 20.0)
        - 0.7 * (world.language[item] != spoken[:, None])
        + 0.004 * (world.runtime[item] - 80) * np.where(traffic.device == 1, 1.0, -0.6)[:, None]
        + extra
    )


def _noise(seed: int, stage: int, traffic: Traffic, item: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.random.default_rng([seed, stage]).random(item.shape)
