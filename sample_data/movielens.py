"""`diagnosis import WORKSPACE movielens FOLDER --movies FILE`: real ratings (MovieLens) with real launch days and metadata (RankLens).

The ratings say what people like; they are no clock. So requests are modelled: a member comes back on some day of a fortnight and is
offered movies, among them ones that they rated; an outcome is a real rating of four stars or more.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import WorkspaceError
from diagnosis.models import Bundle, Feature, encode, write_bundle
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace

MODEL, VERSION = "movie-ranker", "ratings-a"
START, DAYS, PER_MEMBER, WIDTH, SLOTS, LIKED = datetime(2018, 9, 1, tzinfo=UTC), 14, 8, 24, 8, 4.0
_FEATURES = ("mean_rating", "ratings", "age_days", "runtime_min", "genre", "genre_share", "member_mean")
_TERMS = (
    "Real: ratings (MovieLens ml-latest-small, GroupLens), launch days, genres and runtimes (RankLens, metarank).",
    "MovieLens: research only, no commercial use, redistribution under the same terms; cite Harper, Konstan: The MovieLens Datasets, "
    "ACM TiiS 2015. RankLens: CC-BY-SA 4.0.",
    "Modelled: when members came, what they were offered, the ranking and the places. An outcome `play` is a real rating of four stars or "
    "more, which the ranking did not see.",
)


def import_movielens(workspace: Path, source: Path, *, movies: Path | None = None) -> tuple[int, list[str]]:
    """Write a workspace from ``ratings.csv`` and the metadata file.

    Returns
    -------
    tuple of (int, list of str)
        How many requests were written, and notes.

    Raises
    ------
    WorkspaceError
        If a file is missing or has other fields.
    """
    if movies is None:
        raise WorkspaceError("movielens needs the movies' metadata.", "give it with --movies movies.json.")
    ratings, catalogue = _ratings(source / "ratings.csv"), _catalogue(movies)
    ratings = ratings[ratings["movieId"].isin(catalogue.index)].reset_index(drop=True)
    rng = np.random.default_rng(0)
    seen = rng.random(len(ratings)) < 0.5  # half of the ratings make features and the model, the other half outcomes
    past, future = ratings[seen], ratings[~seen]
    made = Workspace.create(workspace, id="movielens", name="MovieLens, RankLens", terms=list(_TERMS), positive_events=["play"])
    made.replace("items", _items(catalogue))
    profile = _Profile(past, catalogue)
    bundle, booster = _model(made, past, profile)
    tables = _log(future, profile, bundle, booster, rng)
    made.rulesets_dir.mkdir()
    (made.rulesets_dir / "top-eight.toml").write_text('version = "top-eight"\n', encoding="utf-8")
    made.append(**tables)
    Workbench.open(workspace).admit()
    count = tables["requests"].num_rows
    return count, [
        f"{len(ratings)} ratings of {catalogue.index.nunique()} movies joined",
        f"{tables['outcomes'].num_rows} outcomes are real ratings",
    ]


def _ratings(file: Path) -> pd.DataFrame:
    try:
        ratings = pd.read_csv(file)
    except OSError:
        raise WorkspaceError(f"{file} cannot be read.", "give the unpacked folder of ml-latest-small.") from None
    missing = {"userId", "movieId", "rating"} - set(ratings.columns)
    if missing:
        raise WorkspaceError(f"{file.name} lacks columns: {', '.join(sorted(missing))}.", "it must be MovieLens' own file.")
    return ratings


def _catalogue(file: Path) -> pd.DataFrame:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        rows = [(m["id"], m["title"], m["releaseDate"], m.get("runtime") or 0, [g["name"] for g in m.get("genres") or []]) for m in raw]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(f"{file.name} is no list of movies: {type(error).__name__}: {error}.", "give RankLens' movies.json.") from None
    table = pd.DataFrame(rows, columns=["movieId", "title", "day", "runtime", "genres"]).drop_duplicates("movieId").set_index("movieId")
    table["genre"] = [g[0] if g else "none" for g in table["genres"]]
    return table


def _items(catalogue: pd.DataFrame) -> pa.Table:
    day = np.datetime64("1970-01-01", "us") + catalogue["day"].to_numpy(dtype="int64").astype("timedelta64[D]")
    launched = pa.array(day.astype("datetime64[us]")).cast(pa.timestamp("us", "UTC"))
    return pa.table(
        {
            "item_id": catalogue.index.astype(str).to_numpy(dtype=object),
            "title": catalogue["title"].to_numpy(dtype=object),
            "launched_at": launched,
            "genre": catalogue["genre"].to_numpy(dtype=object),
            "genres": pa.array(catalogue["genres"].tolist(), pa.list_(pa.string())),
            "runtime_min": catalogue["runtime"].to_numpy(dtype="int64"),
        }
    )


class _Profile:
    """What the past half of the ratings says of movies and members."""

    def __init__(self, past: pd.DataFrame, catalogue: pd.DataFrame) -> None:
        self.catalogue = catalogue
        by_movie = past.groupby("movieId")["rating"]
        self.total, self.count = by_movie.sum(), by_movie.count()
        self.member_mean = past.groupby("userId")["rating"].mean()
        genre = past["movieId"].map(catalogue["genre"])
        shares = pd.crosstab(past["userId"], genre)
        self.shares = shares.div(shares.sum(axis=1), axis=0)

    def features(self, member: NDArray[Any], movie: NDArray[Any], *, own: NDArray[np.float64] | None = None) -> pd.DataFrame:
        """Features of (member, movie) pairs; `own` leaves the pair's own rating out of the movie's mean."""
        total = self.total.reindex(movie).to_numpy(dtype=np.float64)
        count = self.count.reindex(movie).fillna(0).to_numpy(dtype=np.float64)
        if own is not None:
            total, count = total - own, count - 1
        genre = self.catalogue["genre"].loc[movie].to_numpy(dtype=object)
        columns = {str(c): i for i, c in enumerate(self.shares.columns)}
        rows = self.shares.index.get_indexer(pd.Index(member))
        place = np.array([columns.get(g, -1) for g in genre])
        share = np.where((rows < 0) | (place < 0), 0.0, self.shares.to_numpy()[rows, place])
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(count > 0, total / count, np.nan)
        return pd.DataFrame(
            {
                "mean_rating": mean,
                "ratings": count,
                "age_days": (START - datetime(1970, 1, 1, tzinfo=UTC)).days - self.catalogue["day"].loc[movie].to_numpy(dtype=np.float64),
                "runtime_min": self.catalogue["runtime"].loc[movie].to_numpy(dtype=np.float64),
                "genre": pd.Series(genre, dtype=object),
                "genre_share": share,
                "member_mean": self.member_mean.reindex(member).to_numpy(dtype=np.float64),
            }
        )


def _model(workspace: Workspace, past: pd.DataFrame, profile: _Profile) -> tuple[Bundle, Any]:
    import lightgbm

    rows = profile.features(past["userId"].to_numpy(), past["movieId"].to_numpy(), own=past["rating"].to_numpy())
    label = (past["rating"] >= LIKED).to_numpy(dtype=np.float64)
    genres = tuple(sorted(profile.catalogue["genre"].unique()))
    features = tuple(
        Feature(
            n,
            f"{'requests' if n == 'member_mean' else 'candidates'}.{n}",
            "category" if n == "genre" else "double",
            genres if n == "genre" else (),
        )
        for n in _FEATURES
    )
    drafted = Bundle(
        workspace.path, MODEL, VERSION, "lightgbm", "model.txt", objective="binary", link="sigmoid", features=features, label="liked"
    )
    data = lightgbm.Dataset(encode(drafted, rows), label, feature_name=drafted.names, categorical_feature=[_FEATURES.index("genre")])
    booster = lightgbm.train(
        {"objective": "binary", "num_leaves": 15, "min_data_in_leaf": 50, "verbose": -1, "deterministic": True}, data, 60
    )
    kept = np.random.default_rng(1).permutation(len(rows))[:10_000]
    training = pa.table({**{c: rows[c].to_numpy()[kept] for c in rows.columns}, "label": label[kept]})
    return write_bundle(workspace.models_dir, drafted, booster.model_to_string().encode(), training), booster


def _log(future: pd.DataFrame, profile: _Profile, bundle: Bundle, booster: Any, rng: np.random.Generator) -> dict[str, pa.Table]:
    popular = profile.count.to_numpy(dtype=np.float64)
    chance, known = popular / popular.sum(), profile.count.index.to_numpy()
    width = min(WIDTH, len(known))
    rows: list[tuple[Any, int, NDArray[np.int64], NDArray[np.bool_]]] = []
    for member, own in future.groupby("userId"):
        for visit in range(PER_MEMBER):
            mine = own.iloc[rng.permutation(len(own))[: width // 3]]
            others = rng.choice(known, width, replace=False, p=chance)
            movies = np.array(list(dict.fromkeys([*mine["movieId"], *others]))[:width])
            liked = np.isin(movies, mine.loc[mine["rating"] >= LIKED, "movieId"])
            rows.append((member, visit, movies, liked))
    at = [START + timedelta(days=float(d)) for d in rng.uniform(0, DAYS, len(rows))]
    ids = np.array([f"visit-{m}-{v}" for m, v, _, _ in rows], dtype=object)
    size = np.array([len(movies) for _, _, movies, _ in rows])
    movie, liked = np.concatenate([r[2] for r in rows]), np.concatenate([r[3] for r in rows])
    owner = np.repeat(np.arange(len(rows)), size)
    members = np.array([m for m, _, _, _ in rows])
    features = profile.features(members[owner], movie)
    score = np.asarray(booster.predict(encode(bundle, features), raw_score=True))
    order = np.lexsort((np.arange(len(score)), -score, owner))
    rank = np.empty(len(score), dtype=np.int64)
    rank[order] = np.arange(len(score)) - np.repeat(np.cumsum(size) - size, size) + 1
    times = pa.array(at, pa.timestamp("us", "UTC"))
    n = len(rows)
    requests: dict[str, Any] = {
        "request_id": ids,
        "served_at": times,
        "task": ["homepage"] * n,
        "status": ["ok"] * n,
        "member": np.array([f"user-{m}" for m in members], dtype=object),
        "model": [MODEL] * n,
        "model_version": [VERSION] * n,
        "ruleset_version": ["top-eight"] * n,
        "slots": [SLOTS] * n,
        "candidates_total": size,
        "candidates_logged": size,
        "keep_probability": [1.0] * n,
        "log_schema": ["movielens/1"] * n,
        "member_mean": pa.array(features["member_mean"].to_numpy()[np.cumsum(size) - size], from_pandas=True),
    }
    candidates: dict[str, Any] = {
        "request_id": ids[owner],
        "item_id": movie.astype(str).astype(object),
        "score": score,
        "rank": rank,
        "position": pa.array(rank, mask=rank > SLOTS),
        "dropped_by": pa.array(["slots"] * len(rank), mask=rank <= SLOTS),
    }
    candidates |= {name: pa.array(features[name].to_numpy(), from_pandas=True) for name in _FEATURES if name != "member_mean"}
    played = np.flatnonzero(liked & (rank <= SLOTS))
    happened = times.take(pa.array(owner[played]))
    outcomes = {
        "request_id": ids[owner[played]],
        "item_id": movie[played].astype(str).astype(object),
        "event": np.array(["play"] * len(played), dtype=object),
        "happened_at": happened,
        "logged_at": happened,
    }
    return {"requests": pa.table(requests), "candidates": pa.table(candidates), "outcomes": pa.table(outcomes)}
