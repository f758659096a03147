"""A request that two models scored, one after the other, is replayed stage by stage."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.errors import NotFoundError
from diagnosis.internals import behind, explain, same_requests
from diagnosis.reproduce import Edit, Edits, Workbench, replay, replay_batch
from diagnosis.store import Query, Workspace
from tests.conftest import AT
from tests.models.cascade import ROWS, expected, rows, write_cascade

ITEMS = [f"i{k}" for k in range(ROWS)]


def build(path, trained, *, spoil=None, keep=3, training=None):
    """One request of task homepage and one of search, as the cascade serves them; `spoil` changes the candidates' columns."""
    workspace = Workspace.create(path, id="cascade")
    write_cascade(trained, workspace.models_dir, keep=keep, training=training)
    frame = rows()
    first, second = expected(trained, frame)
    kept = np.zeros(ROWS, dtype=bool)
    kept[np.argsort(-first, kind="stable")[:3]] = True
    columns = {"price": [], "colour": [], "score": [], "score__light": [], "rank": [], "dropped_by": []}
    for last in (second, first):
        score = np.where(kept, last, np.nan)
        columns["price"] += frame["price"].tolist()
        columns["colour"] += frame["colour"].tolist()
        columns["score"] += [float(s) if k else None for s, k in zip(score, kept, strict=True)]
        columns["score__light"] += first.tolist()
        ranks = pd.Series(score).rank(ascending=False, method="first")
        columns["rank"] += [int(r) if k else None for r, k in zip(ranks, kept, strict=True)]
        columns["dropped_by"] += [None if k else "light" for k in kept]
    if spoil:
        spoil(columns)
    ids = np.repeat(["r1", "r2"], ROWS)
    table = pa.table({"request_id": ids, "item_id": ITEMS * 2, **columns, "position": columns["rank"]})
    requests = pa.table(
        {
            "request_id": ["r1", "r2"],
            "served_at": pa.array([AT, AT], pa.timestamp("us", "UTC")),
            "task": ["homepage", "search"],
            "status": ["ok", "ok"],
            "model": ["cascade", "cascade"],
            "model_version": ["1", "1"],
            "slots": [3, 3],
            "keep_probability": [1.0, 1.0],
        }
    )
    workspace.append(requests=requests, candidates=table)
    bench = Workbench.open(path)
    bench.admit()
    return bench


def test_both_stages_are_reproduced_for_both_tasks(tmp_path, trained):
    bench = build(tmp_path / "w", trained)
    for request in ("r1", "r2"):
        found = bench.replay(request)
        assert (found.verdict, found.first_stage) == ("exact", None)
        assert found.stages.loc["light", ["logged", "replayed", "gap", "dropped", "same"]].tolist() == [ROWS, ROWS, 0.0, 3, True]
        assert found.rows["replayed_dropped_by"].tolist() == found.rows["logged_dropped_by"].tolist()
    assert [s["stage"] for s in bench.replay("r1").as_json()["stages"]] == ["light", "heavy"]


def test_a_first_stage_that_served_other_scores_is_where_it_parts(tmp_path, trained):
    def spoil(columns):
        columns["score__light"][0] += 0.5

    found = build(tmp_path / "w", trained, spoil=spoil).replay("r1")
    assert (found.verdict, found.first_stage) == ("different_scores", "filtered")
    assert any("stage light: its scores differ by up to 0.5" in reason for reason in found.reasons)


def test_a_candidate_that_the_first_stage_would_not_have_kept_is_told(tmp_path, trained):
    found = build(tmp_path / "w", trained, keep=2).replay("r1")
    assert found.verdict == "different_scores"
    assert any("have a logged score and no replayed one" in reason for reason in found.reasons)


def test_an_edit_can_bring_back_what_the_first_stage_dropped(tmp_path, trained):
    bench = build(tmp_path / "w", trained)
    lost = bench.replay("r1").rows.index[bench.replay("r1").rows["logged"].isna()][0]
    found = bench.replay("r1", edits=Edits((Edit(lost, "price", "9.0"),)))
    assert found.rows["replayed"].notna()[lost]
    assert int(found.rows["replayed"].notna().sum()) == 3


def test_many_requests_replay_at_once(tmp_path, trained):
    bench = build(tmp_path / "w", trained)
    batch = bench.snapshot.sample(10, query=Query())
    assert set(replay_batch(batch, bench.model("cascade", "1")).verdict) == {"exact"}


def test_a_batch_with_another_first_ranker_has_other_survivors(tmp_path, trained):
    bench = build(tmp_path / "w", trained)
    write_cascade(trained, bench.workspace.models_dir, version="0", turned=True)
    bench = Workbench.open(tmp_path / "w")
    bench.admit()
    batch = bench.snapshot.fetch(["r1", "r2"])
    found = replay_batch(batch, bench.model("cascade", "0"))
    first, second = expected(trained, rows(), turned=True)
    kept = np.sort(np.argsort(-first, kind="stable")[:3])
    was = np.flatnonzero(np.asarray(batch.candidates.column("score").is_valid().to_numpy())[:ROWS])
    assert kept.tolist() != was.tolist()
    assert np.flatnonzero(~np.isnan(found.replayed[:ROWS])).tolist() == kept.tolist()
    np.testing.assert_array_equal(found.replayed[:ROWS][kept], second[kept])
    np.testing.assert_array_equal(found.replayed[ROWS:][kept], first[kept])  # `heavy` does not score searches
    assert set(found.verdict) == {"different_scores"}


def test_a_batch_of_composites_says_what_single_replays_say(tmp_path, trained):
    def spoil(columns):
        columns["score__light"][ROWS] += 0.5

    bench = build(tmp_path / "w", trained, spoil=spoil)
    write_cascade(trained, bench.workspace.models_dir, version="0", turned=True)
    bench = Workbench.open(tmp_path / "w")
    bench.admit()
    for version in ("0", "1"):
        model = bench.model("cascade", version)
        found = replay_batch(bench.snapshot.fetch(["r1", "r2"]), model)
        for place, request in enumerate(("r1", "r2")):
            alone, mine = replay(bench.request(request), model), found.owner == place
            assert found.verdict[place] == alone.verdict == ("exact" if (version, request) == ("1", "r1") else "different_scores")
            np.testing.assert_array_equal(found.replayed[mine], alone.rows["replayed"].to_numpy())
            assert found.replayed_rank[mine].tolist() == alone.rows["replayed_rank"].fillna(0).tolist()


def test_versions_of_a_composite_are_compared_on_what_both_keep(tmp_path, trained):
    bench = build(tmp_path / "w", trained)
    write_cascade(trained, bench.workspace.models_dir, version="0", turned=True)
    bench = Workbench.open(tmp_path / "w")
    bench.admit()
    found = same_requests(bench.model("cascade", "1"), bench.model("cascade", "0"), bench.snapshot.fetch(["r1"]))
    both = set.intersection(*(set(np.argsort(-expected(trained, rows(), turned=t)[0], kind="stable")[:3].tolist()) for t in (True, False)))
    assert found.score.value == 0.0 if both else np.isnan(found.score.value)  # the last ranker is the same
    assert found.page.value == len(both) / 3


def test_the_training_rows_behind_a_score_are_those_of_the_last_stage(tmp_path, trained):
    _, frame, label = trained
    task = ["homepage"] * len(frame)
    training = pa.table({"price": frame["price"], "colour": frame["colour"].astype(str), "task": task, "label": np.asarray(label, float)})
    bench = build(tmp_path / "w", trained, training=training)
    request = bench.request("r1")
    item = explain(bench, request).values.index[0]
    found = behind(bench, request, item)
    assert found.notes == {}
    assert found.support.rows > 0
    assert found.version == "1"


def test_each_stage_is_explained_for_the_candidates_that_came_to_it(tmp_path, trained):
    bench = build(tmp_path / "w", trained)
    request = bench.request("r1")
    last, first = explain(bench, request), explain(bench, request, stage="light")
    assert (len(last.values), list(last.values.columns)) == (3, ["price", "colour"])
    assert (len(first.values), list(first.values.columns)) == (ROWS, ["price"])
    assert last.adds_up
    assert first.adds_up
    scores = dict(zip(request.items, request.table.column("score").to_pylist(), strict=True))
    assert [scores[item] for item in last.values.index] == last.score.tolist()
    assert list(explain(bench, bench.request("r2")).values.columns) == ["price"]
    with pytest.raises(NotFoundError, match="middle"):
        explain(bench, request, stage="middle")
