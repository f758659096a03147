"""Members and items of the simulated streaming service, and what they are to each other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

GENRES = ("drama", "comedy", "thriller", "documentary", "animation", "romance", "science fiction", "sport")
LANGUAGES = ("en", "de", "ja", "es")
COUNTRIES = ("us", "gb", "de", "jp", "es", "br")
SPOKEN = {"us": "en", "gb": "en", "de": "de", "jp": "ja", "es": "es", "br": "es"}
DEVICES = ("phone", "tv", "web", "tablet")
LAUNCHES_PER_DAY = 1.2
EXTRA, NEVER = 60, 1e6  # items that only a flood launches, and the day on which they are launched without one
START = datetime(2026, 10, 12, tzinfo=UTC)  # a Monday
_ADJECTIVES = ("Quiet", "Last", "Golden", "Hidden", "Broken", "Distant", "Second", "Winter", "Paper", "Electric", "Salt", "Northern")
_NOUNS = ("River", "Harbour", "Promise", "Garden", "Signal", "Orchard", "Mirror", "Station", "Letter", "Island", "Engine", "Choir")


@dataclass(frozen=True, eq=False)
class World:
    """Who there is.

    Attributes
    ----------
    taste : array of float, shape (members, genres)
        Shares that add to 1.
    country, device, profile : arrays of int, shape (members,)
        Codes into `COUNTRIES`, `DEVICES` (the one used most), 0 adult / 1 kids.
    activity : array of float, shape (members,)
        How often each comes, relative.
    plays : array of float, shape (members,)
        Plays in 28 days, on average.
    genre, language : arrays of int, shape (items,)
    launched : array of float, shape (items,)
        Days after `START`; negative = before the log begins, above the length of the log = not yet.
        The last `EXTRA` items are launched by a flood only; else infinitely late.
    popularity, quality : arrays of float, shape (items,)
    series : array of int, shape (items,)
        -1 = none.
    editors_pick, original : arrays of bool, shape (items,)
    appeal : array of float, shape (genres,)
        Log-odds by which everybody likes a genre more or less.
    rating : array of float, shape (items,)
        Mean of viewers' stars, 1 to 5; logged, but no input of the ranker.
    """

    taste: NDArray[np.float64]
    country: NDArray[np.int64]
    device: NDArray[np.int64]
    profile: NDArray[np.int64]
    activity: NDArray[np.float64]
    plays: NDArray[np.float64]
    genre: NDArray[np.int64]
    language: NDArray[np.int64]
    maturity: NDArray[np.int64]
    runtime: NDArray[np.int64]
    original: NDArray[np.bool_]
    launched: NDArray[np.float64]
    popularity: NDArray[np.float64]
    quality: NDArray[np.float64]
    series: NDArray[np.int64]
    editors_pick: NDArray[np.bool_]
    rating: NDArray[np.float64]
    titles: tuple[str, ...]
    appeal: NDArray[np.float64]

    @property
    def item_ids(self) -> NDArray[np.object_]:
        """Ids of the items."""
        return np.array([f"item-{i:04d}" for i in range(len(self.genre))], dtype=object)


def make_world(seed: int, *, days: int, members: int = 3000, items: int = 500) -> World:
    """A world of that seed."""
    rng = np.random.default_rng([seed, 1])
    weight = rng.gamma(2.0, 1.0, len(GENRES)) + 0.5
    n_future = round(LAUNCHES_PER_DAY * (days + 14))
    n = items + n_future + EXTRA
    launched = np.concatenate(
        [-rng.gamma(1.0, items / LAUNCHES_PER_DAY, items), rng.uniform(0, days + 14, n_future), np.full(EXTRA, NEVER)]
    )
    chosen = rng.integers(0, [[len(_ADJECTIVES)], [len(_NOUNS)]], (2, n))
    quality = rng.normal(0.0, 1.0, n)
    return World(
        taste=rng.dirichlet(weight, members),
        country=rng.choice(len(COUNTRIES), members, p=[0.36, 0.16, 0.16, 0.14, 0.08, 0.10]),
        device=rng.choice(len(DEVICES), members, p=[0.46, 0.26, 0.18, 0.10]),
        profile=(rng.random(members) < 0.12).astype(np.int64),
        activity=rng.pareto(2.2, members) + 0.2,
        plays=rng.gamma(2.5, 10.0, members) + 4.0,
        genre=rng.choice(len(GENRES), n, p=weight / weight.sum()),
        language=rng.choice(len(LANGUAGES), n, p=[0.55, 0.17, 0.13, 0.15]),
        maturity=rng.choice([0, 6, 12, 16, 18], n, p=[0.22, 0.2, 0.28, 0.2, 0.1]),
        runtime=rng.integers(18, 160, n),
        original=rng.random(n) < 0.2,
        launched=launched,
        popularity=rng.gamma(0.8, 1.0, n) + 0.05,
        quality=quality,
        series=np.where(rng.random(n) < 0.3, rng.integers(0, n // 8, n), -1),
        editors_pick=(rng.random(n) < 0.012) & (quality > -0.5),
        rating=np.asarray(np.round(np.clip(3.2 + 0.5 * quality + rng.normal(0, 0.5, n), 1, 5), 2), dtype=np.float64),
        appeal=rng.normal(0.0, 0.45, len(GENRES)),
        titles=tuple(f"{_ADJECTIVES[a]} {_NOUNS[b]} {i}" for i, (a, b) in enumerate(zip(*chosen, strict=True))),
    )


def day_time(days: float) -> datetime:
    """The moment that many days after `START`."""
    return START + timedelta(days=float(days))


def popularity_on(world: World, day: NDArray[np.float64]) -> NDArray[np.float64]:
    """How popular each item is on each day, ageing from its launch; shape (days, items); 0 before the launch."""
    age = day[:, None] - world.launched[None, :]
    fade = 0.25 + np.exp(-np.maximum(age, 0) / 45.0)
    return np.where(age >= 0, world.popularity * fade, 0.0)
