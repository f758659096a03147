"""A workspace on disk, from the log to the verdict."""

import pytest

from diagnosis.errors import NotFoundError
from diagnosis.reproduce import Edits, Workbench
from diagnosis.reproduce.checkup import checkup


def test_before_admission_nothing_replays_and_the_reason_is_said(replayable):
    answer = Workbench.open(replayable).replay("r1")
    assert answer.verdict == "not_replayable"
    assert "not admitted" in answer.reasons[0]


def test_after_admission_the_log_replays_exactly(replayable):
    workbench = Workbench.open(replayable)
    workbench.admit()
    answer = workbench.replay("r1", noise=True)
    assert (answer.verdict, answer.first_stage, answer.noise_floor) == ("exact", None, 0.0)
    assert answer.sentence == (
        "Reproduced exactly: ranker 1 gives all 3 logged scores bit for bit, and ruleset a gives the page that was shown."
    )


def test_a_model_changed_after_admission_does_not_replay(replayable):
    Workbench.open(replayable).admit()
    file = replayable / "models" / "ranker" / "1" / "model.txt"
    file.write_bytes(file.read_bytes() + b" ")
    answer = Workbench.open(replayable).replay("r1")
    assert answer.verdict == "not_replayable"
    assert "changed after it was admitted" in answer.reasons[0]


def test_a_model_version_that_is_gone_is_named(replayable):
    import shutil

    shutil.rmtree(replayable / "models" / "ranker" / "1")
    assert Workbench.open(replayable).replay("r1").reasons == ("model ranker 1 is not in this workspace",)


def test_a_missing_ruleset_leaves_the_scores_replayable(replayable):
    (replayable / "rulesets" / "a.toml").unlink()
    workbench = Workbench.open(replayable)
    workbench.admit()
    answer = workbench.replay("r1")
    assert (answer.verdict, [p.kind for p in answer.problems]) == ("exact", ["missing_ruleset"])


def test_unknown_ids_and_versions_name_near_ones(replayable):
    workbench = Workbench.open(replayable)
    with pytest.raises(NotFoundError, match="no request 'r9'"):
        workbench.replay("r9")
    with pytest.raises(NotFoundError, match="model version"):
        workbench.replay("r1", edits=Edits(model_version="2"))
    with pytest.raises(NotFoundError, match="ruleset"):
        workbench.replay("r1", edits=Edits(ruleset="b"))


def test_the_checkup_finds_what_to_fix(replayable):
    states = {f.what: f.state for f in checkup(Workbench.open(replayable))}
    assert (states["model ranker 1"], states["table requests"], states["table items"]) == ("fail", "ok", "warn")
    Workbench.open(replayable).admit()
    fixed = {f.what: f.state for f in checkup(Workbench.open(replayable))}
    assert (fixed["model ranker 1"], fixed["replay"]) == ("ok", "ok")


def test_admissions_do_not_travel_with_the_workspace(replayable, monkeypatch, tmp_path):
    Workbench.open(replayable).admit()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine"))
    assert Workbench.open(replayable).replay("r1").verdict == "not_replayable"


def test_metrics_of_the_workspace_are_served_and_checked(replayable):
    from diagnosis.errors import MetricError
    from diagnosis.metrics import measure

    entries = {
        "dear": 'level = "shown"\nvalue = "price > 0"\nunit = "share"',
        "odd": 'value = "price"',
        "broken": 'value = "1 +"',
    }
    text = "".join(f"[metrics.{name}]\n{entry}\n" for name, entry in entries.items())
    (replayable / "diagnosis.toml").write_text('id = "shop"\n' + text)
    workbench = Workbench.open(replayable)
    assert workbench.metric("ctr").base == "ctr"
    batch = workbench.snapshot.fetch(["r1", "r2"])
    position, price = batch.candidates.column("position").to_pylist(), batch.candidates.column("price").to_pylist()
    shares = [[p > 0 for p, place in zip(price[i : i + 3], position[i : i + 3], strict=True) if place] for i in (0, 3)]
    expected = sum(w * sum(s) / len(s) for w, s in zip((4, 2), shares, strict=True)) / 6
    assert measure(workbench.metric("dear"), batch).value == pytest.approx(expected)
    with pytest.raises(MetricError, match="character 4"):
        workbench.metric("broken")
    states = {f.what: f.state for f in checkup(workbench) if f.what.startswith("metric")}
    assert states == {"metric broken": "fail", "metric dear": "ok", "metric odd": "fail"}


def test_where_nothing_looks_like_it_what_there_is_is_told(replayable):
    bench = Workbench.open(replayable)
    for call, there in (
        (lambda: bench.bundle(None, "zzz"), "there is 1."),
        (lambda: bench.bundle("other", "as logged"), "there is 1 of ranker."),
        (lambda: bench.ruleset("zzz"), "there is a."),
    ):
        with pytest.raises(NotFoundError) as caught:
            call()
        assert caught.value.hint == there
    with pytest.raises(NotFoundError) as caught:
        bench.request("zzz")
    assert caught.value.hint == ""
