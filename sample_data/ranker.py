"""The one consolidated ranker: its features, and how its two versions were trained on earlier days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.models import Feature
from sample_data.features import Candidates, make_candidates
from sample_data.traffic import TASKS, Traffic, make_traffic
from sample_data.world import COUNTRIES, DEVICES, GENRES, LANGUAGES, World, day_time

NAME, PARENT, CURRENT = "streaming-ranker", "2026-09-28", "2026-10-10"
CATEGORIES = {"genre": GENRES, "language": LANGUAGES, "task": TASKS, "device": DEVICES, "country": COUNTRIES}
ON_REQUEST = ("task", "device", "country", "hour_of_day", "member_plays", "days_since_last_visit")
INPUTS = (
    "item_ctr",
    "item_impressions_7d",
    "item_age_days",
    "genre",
    "language",
    "runtime_min",
    "member_genre_affinity",
    "member_genre_plays",
    "query_match",
    "seed_similarity",
    "task",
    "device",
    "country",
    "hour_of_day",
    "member_plays",
    "days_since_last_visit",
)
_LONG = ("item_impressions_7d", "item_age_days", "runtime_min", "member_genre_plays", "hour_of_day", "member_plays")
EXAMINED = 1.0 / np.log2(np.arange(1, 61) + 1) ** 1.2  # chance that somebody looks at a position
_FIRST_DAY = -21


def features() -> tuple[Feature, ...]:
    """Inputs of the ranker, in its order."""
    return tuple(
        Feature(
            name,
            f"{'requests' if name in ON_REQUEST else 'candidates'}.{name}",
            "category" if name in CATEGORIES else "long" if name in _LONG else "double",
            CATEGORIES.get(name, ()),
        )
        for name in INPUTS
    )


def matrix(candidates: Candidates) -> NDArray[np.float64]:
    """What the ranker is given; shape (requests × width, inputs)."""
    return np.stack([candidates.columns[name].ravel() for name in INPUTS], axis=1)


@dataclass(frozen=True, eq=False)
class Trained:
    """One version of the ranker."""

    version: str
    booster: Any
    training: pa.Table
    trained_from: str
    trained_until: str

    def score(self, candidates: Candidates) -> NDArray[np.float64]:
        """Raw scores; shape (requests, width)."""
        raw = self.booster.predict(matrix(candidates), raw_score=True)
        return np.asarray(raw).reshape(candidates.item.shape)


def train(world: World, seed: int, *, requests: int = 3600) -> dict[str, Trained]:
    """Both versions, the older on the first week and the newer on all three weeks before the log begins."""
    traffic = make_traffic(world, seed, requests=requests, days=21, first_day=_FIRST_DAY, stage=6)
    traffic = traffic.take(np.random.default_rng([seed, 7]).permutation(len(traffic))[:requests])
    candidates = make_candidates(world, traffic, seed, width=20)
    rng = np.random.default_rng([seed, 8])
    place = np.argsort(rng.random(candidates.item.shape), axis=1)  # training rows come from pages in random order
    clicked = rng.random(candidates.item.shape) < EXAMINED[place] / (1 + np.exp(-candidates.relevance))
    table = _table(world, traffic, candidates, clicked, EXAMINED[place])
    early = np.repeat(traffic.at < _FIRST_DAY + 7, candidates.item.shape[1])
    return {
        PARENT: _fit(PARENT, candidates, clicked, table, early, 40, _FIRST_DAY + 7),
        CURRENT: _fit(CURRENT, candidates, clicked, table, np.ones_like(early), 70, 0),
    }


def _fit(
    version: str, candidates: Candidates, clicked: NDArray[np.bool_], table: pa.Table, rows: NDArray[np.bool_], trees: int, until: int
) -> Trained:
    import lightgbm

    inputs = matrix(candidates)[rows]
    data = lightgbm.Dataset(
        inputs,
        clicked.ravel()[rows].astype(np.float64),
        feature_name=list(INPUTS),
        categorical_feature=[i for i, name in enumerate(INPUTS) if name in CATEGORIES],
        params={"verbose": -1, "max_bin": 127},
    )
    options = {
        "objective": "binary",
        "num_leaves": 31,
        "learning_rate": 0.1,
        "min_data_in_leaf": 60,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 2,
        "seed": 1,
        "verbose": -1,
        "cat_smooth": 20,
    }
    booster = lightgbm.train(options, data, trees)
    return Trained(version, booster, table.filter(pa.array(rows)), day_time(_FIRST_DAY).isoformat(), day_time(until).isoformat())


def _table(world: World, traffic: Traffic, candidates: Candidates, clicked: NDArray[np.bool_], examined: NDArray[np.float64]) -> pa.Table:
    width = candidates.item.shape[1]
    at = np.datetime64(day_time(0).replace(tzinfo=None), "us") + (traffic.at * 86400e6).astype("timedelta64[us]")
    rows: dict[str, Any] = {
        "request_id": np.repeat(traffic.request_id, width),
        "item_id": world.item_ids[candidates.item].ravel(),
        "at": pa.array(np.repeat(at, width)).cast(pa.timestamp("us", "UTC")),
    }
    rows |= {name: logged(name, candidates.columns[name].ravel()) for name in INPUTS}
    return pa.table({**rows, "label": clicked.ravel().astype(np.float64), "weight": np.ones(clicked.size), "examined": examined.ravel()})


def logged(name: str, values: NDArray[np.float64]) -> pa.Array:
    """A feature as the log holds it: categories as text, counts as integers, missing as null."""
    missing = np.isnan(values)
    if name in CATEGORIES:
        codes = pa.array(np.where(missing, 0, values).astype(np.int32), mask=missing)
        return pa.DictionaryArray.from_arrays(codes, pa.array(CATEGORIES[name])).cast(pa.string())
    if name in _LONG and not (values[~missing] % 1).any():
        return pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)
    return pa.array(values.astype(np.float64), mask=missing)
