"""The one consolidated ranker: its features, and how its versions were trained on earlier days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.models import Feature
from sample_data.chance import pairs, uniform
from sample_data.features import CONTEXT, Candidates, make_candidates
from sample_data.history import History
from sample_data.traffic import TASKS, Traffic, make_traffic
from sample_data.world import COUNTRIES, DEVICES, GENRES, LANGUAGES, World, day_time

NAME, PARENT, CURRENT, NEXT = "streaming-ranker", "2026-09-28", "2026-10-10", "2026-10-17"
VERSIONS = (PARENT, CURRENT, NEXT)
CATEGORIES = {"genre": GENRES, "language": LANGUAGES, "task": TASKS, "device": DEVICES, "country": COUNTRIES}
INPUTS = (
    "item_ctr",
    "item_impressions_7d",
    "item_age_days",
    "genre",
    "language",
    "runtime_min",
    "member_genre_affinity",
    "member_genre_plays",
    "member_recent_share",
    "query_match",
    "seed_similarity",
    "task",
    "device",
    "country",
    "hour_of_day",
    "member_plays",
    "days_since_last_visit",
)
OLD_INPUTS = tuple(name for name in INPUTS if name != "member_recent_share")  # from before that feature existed
ON_REQUEST = CONTEXT
_LONG = (
    "item_impressions_7d",
    "item_clicks_7d",
    "item_age_days",
    "runtime_min",
    "member_genre_plays",
    "hour_of_day",
    "member_plays",
)
EXPONENT = 1.2
FIRST_DAY = -21
_CHUNK = 6000


def examined(exponent: float = EXPONENT) -> NDArray[np.float64]:
    """Chance that somebody looks at each position, from the first; shape (60,)."""
    return np.asarray(1.0 / np.log2(np.arange(1, 61) + 1) ** exponent)


def features(inputs: tuple[str, ...] = INPUTS) -> tuple[Feature, ...]:
    """Inputs of the ranker, in its order."""
    return tuple(
        Feature(
            name,
            f"{'requests' if name in ON_REQUEST else 'candidates'}.{name}",
            "category" if name in CATEGORIES else "long" if name in _LONG else "double",
            CATEGORIES.get(name, ()),
        )
        for name in inputs
    )


def matrix(
    candidates: Candidates, inputs: tuple[str, ...] = INPUTS, given: Mapping[str, NDArray[np.float64]] | None = None
) -> NDArray[np.float64]:
    """What the ranker is given; shape (requests × width, inputs). A category that it does not know is NaN."""
    n, width = candidates.item.shape
    made = np.empty((n, width, len(inputs)))
    for place, name in enumerate(inputs):
        values = candidates.columns[name] if given is None or name not in given else given[name]
        if name in CATEGORIES:
            values = np.where(values < len(CATEGORIES[name]), values, np.nan)
        made[..., place] = values[:, None] if values.ndim == 1 else values
    return made.reshape(n * width, len(inputs))


@dataclass(frozen=True, eq=False)
class Trained:
    """One version of the ranker."""

    version: str
    booster: Any
    inputs: tuple[str, ...]
    training: pa.Table
    trained_from: str
    trained_until: str
    parent: str = ""

    def score(self, candidates: Candidates, given: Mapping[str, NDArray[np.float64]] | None = None) -> NDArray[np.float64]:
        """Raw scores, shape (requests, width); `given` stands in for some of the logged features."""
        score = np.empty(candidates.item.shape)
        for start in range(0, len(score), _CHUNK):
            rows = slice(start, start + _CHUNK)
            part = None if given is None else {name: values[rows] for name, values in given.items()}
            raw = self.booster.predict(matrix(candidates.take(rows), self.inputs, part), raw_score=True, num_threads=2)
            score[rows] = np.asarray(raw).reshape(-1, candidates.item.shape[1])
        return score


@dataclass(frozen=True, eq=False)
class Lessons:
    """What versions are trained from: requests of the three weeks before the log, with pages in random order."""

    world: World
    traffic: Traffic
    candidates: Candidates
    clicked: NDArray[np.bool_]
    looked: NDArray[np.float64]


def make_lessons(world: World, history: History, seed: int, *, requests: int = 3600) -> Lessons:
    """Requests to learn from."""
    traffic = make_traffic(world, seed, requests=requests, days=21, first_day=FIRST_DAY, stage=6)
    traffic = traffic.take(np.sort(np.argsort(uniform(traffic.key, 50))[:requests]))
    candidates = make_candidates(world, history, traffic, seed, width=20)
    pair = pairs(traffic.key, candidates.item)
    looked = examined()[np.argsort(np.argsort(uniform(pair, 51), axis=1), axis=1)]
    clicked = uniform(pair, 52) < looked / (1 + np.exp(-candidates.relevance))
    return Lessons(world, traffic, candidates, clicked, looked)


def train(lessons: Lessons) -> dict[str, Trained]:
    """Both versions: the older on the first week, before a feature existed; the newer on all three weeks before the log begins."""
    early = lessons.traffic.at < FIRST_DAY + 7
    return {
        PARENT: fit(PARENT, lessons, rows=early, inputs=OLD_INPUTS, trees=35, until=FIRST_DAY + 7),
        CURRENT: fit(CURRENT, lessons, parent=PARENT),
    }


def fit(
    version: str,
    lessons: Lessons,
    *,
    rows: NDArray[np.bool_] | None = None,
    inputs: tuple[str, ...] = INPUTS,
    trees: int = 60,
    until: int = 0,
    parent: str = "",
) -> Trained:
    """A version trained on some requests."""
    import lightgbm

    rows = np.ones(len(lessons.traffic), dtype=np.bool_) if rows is None else rows
    candidates = lessons.candidates.take(rows)
    clicked, looked = lessons.clicked[rows], lessons.looked[rows]
    data = lightgbm.Dataset(
        matrix(candidates, inputs),
        clicked.ravel().astype(np.float64),
        feature_name=list(inputs),
        categorical_feature=[i for i, name in enumerate(inputs) if name in CATEGORIES],
        params={"verbose": -1, "max_bin": 127},
    )
    options = {
        "objective": "binary",
        "num_leaves": 31,
        "learning_rate": 0.1,
        "min_data_in_leaf": 60,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,  # as fast as two on so few rows, and it does not wait for a busy core
        "seed": 1,
        "verbose": -1,
        "cat_smooth": 20,
    }
    booster = lightgbm.train(options, data, trees)
    table = _table(lessons.world, lessons.traffic.take(rows), candidates, inputs, clicked, looked)
    return Trained(version, booster, inputs, table, day_time(FIRST_DAY).isoformat(), day_time(until).isoformat(), parent)


def _table(
    world: World,
    traffic: Traffic,
    candidates: Candidates,
    inputs: tuple[str, ...],
    clicked: NDArray[np.bool_],
    looked: NDArray[np.float64],
) -> pa.Table:
    width = candidates.item.shape[1]
    at = np.datetime64(day_time(0).replace(tzinfo=None), "us") + (traffic.at * 86400e6).astype("timedelta64[us]")
    rows: dict[str, Any] = {
        "request_id": np.repeat(traffic.request_id, width),
        "item_id": world.item_ids[candidates.item].ravel(),
        "at": pa.array(np.repeat(at, width)).cast(pa.timestamp("us", "UTC")),
    }
    for name in inputs:
        values = candidates.columns[name]
        rows[name] = logged(name, np.repeat(values, width) if values.ndim == 1 else values.ravel())
    for name in ("environment", "app_version", "profile"):
        rows[name] = pa.array(np.repeat(traffic.attribute(name), width), pa.string())
    return pa.table({**rows, "label": clicked.ravel().astype(np.float64), "weight": np.ones(clicked.size), "examined": looked.ravel()})


def logged(name: str, values: NDArray[np.float64], words: tuple[str, ...] = ()) -> pa.Array:
    """A feature as the log holds it: categories as text, counts as integers, missing as null; `words` are new names of categories."""
    missing = np.isnan(values)
    if name in CATEGORIES:
        codes = pa.array(np.where(missing, 0, values).astype(np.int32), mask=missing)
        return pa.DictionaryArray.from_arrays(codes, pa.array([*CATEGORIES[name], *words])).cast(pa.string())
    if name in _LONG and not (values[~missing] % 1).any():
        return pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)
    return pa.array(values.astype(np.float64), mask=missing)
