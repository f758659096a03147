"""Importers, on made-up data in the raw formats, and on the real data where it lies beside the project."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diagnosis.errors import WorkspaceError
from diagnosis.reproduce import Workbench
from diagnosis.store import Query
from sample_data.movielens import import_movielens
from sample_data.open_bandit import import_open_bandit

REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def bandit(tmp_path):
    rng = np.random.default_rng(0)
    items = pd.DataFrame(
        {"item_id": range(4), "item_feature_0": rng.normal(size=4)} | {f"item_feature_{i}": list("aabb") for i in (1, 2, 3)}
    )
    for policy in ("random", "bts"):
        folder = tmp_path / "raw" / policy / "shoes"
        folder.mkdir(parents=True)
        items.to_csv(folder / "item_context.csv")
        n = 300
        log = pd.DataFrame(
            {
                "timestamp": pd.date_range("2019-11-24", periods=n, freq="7min", tz="UTC").astype(str),
                "item_id": rng.integers(0, 4, n),
                "position": rng.integers(1, 4, n),
                "click": (rng.random(n) < 0.1).astype(int),
                "propensity_score": 0.25,
            }
            | {f"user_feature_{i}": rng.choice(["u", "v"], n) for i in range(4)}
            | {f"user-item_affinity_{i}": rng.integers(0, 3, n).astype(float) for i in range(4)}
        )
        log.to_csv(folder / "shoes.csv")
    return tmp_path / "raw"


def test_real_impressions_are_not_replayable_and_the_trained_model_is(tmp_path, bandit):
    count, notes = import_open_bandit(tmp_path / "w", bandit)
    workbench = Workbench.open(tmp_path / "w")
    assert count == workbench.snapshot.count(Query()).kept == 900
    assert notes[0].startswith("random: 300 impressions")
    logged = workbench.replay("bts-000005")
    assert (logged.verdict, logged.reasons) == ("not_replayable", ("model bts-policy as logged is not in this workspace",))
    assert logged.rows["logged_position"].notna().sum() == 1
    shadow = workbench.replay("shadow-000005")
    assert (shadow.verdict, shadow.first_stage, shadow.rows["logged_position"].notna().sum()) == ("exact", None, 0)
    assert any(line.startswith("Modelled") for line in workbench.workspace.settings.terms)


def test_propensities_and_clicks_are_those_of_the_log(tmp_path, bandit):
    import_open_bandit(tmp_path / "w", bandit)
    raw = pd.read_csv(bandit / "bts" / "shoes" / "shoes.csv", index_col=0)
    snapshot = Workbench.open(tmp_path / "w").snapshot
    request = snapshot.request("bts-000007").candidates
    assert request["propensity"].dropna().to_dict() == {str(raw["item_id"][7]): 0.25}
    batch = snapshot.sample(1000, query=Query(model="bts-policy"))
    assert batch.outcomes.num_rows == raw["click"].sum()


@pytest.mark.parametrize("damage", ["no folder", "no column"])
def test_a_folder_of_something_else_is_refused(tmp_path, bandit, damage):
    if damage == "no folder":
        source = tmp_path
    else:
        source = bandit
        file = bandit / "bts" / "shoes" / "shoes.csv"
        pd.read_csv(file, index_col=0).drop(columns="click").to_csv(file)
    with pytest.raises(WorkspaceError, match=r"no Open Bandit log|lacks columns: click") as caught:
        import_open_bandit(tmp_path / "w", source if damage == "no column" else tmp_path / "raw" / "bts")
    assert caught.value.hint


@pytest.fixture
def movies(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "ml"
    folder.mkdir()
    pairs = pd.DataFrame([(u, m) for u in range(12) for m in rng.permutation(40)[:25]], columns=["userId", "movieId"])
    pairs.assign(rating=rng.choice([2.0, 3.5, 4.0, 5.0], len(pairs)), timestamp=1).to_csv(folder / "ratings.csv", index=False)
    listed = [
        {
            "id": i,
            "title": f"Movie {i}",
            "releaseDate": 9000 + 100 * i,
            "runtime": 90 + i,
            "genres": [{"name": "Drama" if i % 2 else "Comedy"}],
        }
        for i in range(40)
    ]
    (tmp_path / "movies.json").write_text(json.dumps(listed))
    return folder, tmp_path / "movies.json"


def test_ratings_become_a_workspace_that_replays(tmp_path, movies):
    count, _ = import_movielens(tmp_path / "w", movies[0], movies=movies[1])
    workbench = Workbench.open(tmp_path / "w")
    assert count == 12 * 8
    batch = workbench.snapshot.sample(10)
    assert {workbench.replay(batch.one(i)).verdict for i in batch.request_ids} == {"exact"}
    launched = workbench.snapshot.items().loc["3", "launched_at"]
    assert launched == pd.Timestamp("1970-01-01", tz="UTC") + pd.Timedelta(days=9300)


def test_movielens_without_metadata_says_what_is_missing(tmp_path, movies):
    with pytest.raises(WorkspaceError, match="metadata"):
        import_movielens(tmp_path / "w", movies[0])
    with pytest.raises(WorkspaceError, match=r"ratings\.csv cannot be read"):
        import_movielens(tmp_path / "w", tmp_path, movies=movies[1])


@pytest.mark.skipif(not (REAL / "open_bandit_men").is_dir(), reason="the real data does not lie beside this checkout")
def test_the_real_open_bandit_log(tmp_path):
    count, notes = import_open_bandit(tmp_path / "w", REAL / "open_bandit_men")
    assert (count, notes[:2]) == (30_000, ["random: 10000 impressions, 46 clicks", "bts: 10000 impressions, 69 clicks"])
    workbench = Workbench.open(tmp_path / "w")
    assert workbench.replay("shadow-000123").verdict == "exact"
    assert workbench.replay("random-000123").rows["logged_position"].notna().sum() == 1


@pytest.mark.skipif(not (REAL / "movielens_small").is_dir(), reason="the real data does not lie beside this checkout")
def test_the_real_ratings(tmp_path):
    count, notes = import_movielens(tmp_path / "w", REAL / "movielens_small", movies=REAL / "ranklens_movies" / "movies.json")
    assert count > 4000
    assert notes[0].startswith("65724 ratings")
    workbench = Workbench.open(tmp_path / "w")
    assert workbench.replay(workbench.snapshot.sample(1).request_ids[0]).verdict == "exact"
