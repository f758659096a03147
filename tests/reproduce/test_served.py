"""Questions asked of a workspace on disk."""

import shutil

import pytest

from diagnosis.errors import NotFoundError, RulesError
from diagnosis.reproduce import Edits, Workbench, parse_edit
from diagnosis.reproduce.checkup import checkup


@pytest.fixture(autouse=True)
def _same_machine(monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_SECRET", "tests")


@pytest.fixture
def workbench(served):
    return Workbench.open(served)


@pytest.fixture
def copied(served, tmp_path):
    shutil.copytree(served, tmp_path / "w")
    return tmp_path / "w"


def test_a_served_request_replays_exactly_down_to_the_page(workbench):
    answer = workbench.replay("served", noise=True)
    assert (answer.verdict, answer.first_stage, answer.noise_floor) == ("exact", None, 0.0)
    assert answer.sentence == (
        "Reproduced exactly: ranker v1 gives all 4 logged scores bit for bit, and ruleset rules-1 gives the page that was shown."
    )
    assert answer.rows["replayed_position"].tolist() == answer.rows["logged_position"].tolist()


def test_a_fallback_is_shown_what_the_model_of_that_time_would_have_done(workbench):
    answer = workbench.replay("fell-back")
    assert (answer.verdict, answer.first_stage, answer.model_version) == ("not_replayable", "served", "v1")
    assert [p.text for p in answer.problems] == ["The log names no model; ranker v1 served the task homepage at that time."]
    served = workbench.replay("served")
    assert answer.rows["replayed_position"].tolist() == served.rows["replayed_position"].tolist()


def test_a_fallback_of_a_task_that_no_model_served_stays_unanswered(workbench):
    answer = workbench.replay("fell-back-2")
    assert (answer.verdict, answer.model, answer.reasons) == (
        "not_replayable",
        None,
        ("a fallback made the page, not the model (popularity)",),
    )


def test_a_version_that_is_not_there_is_named(workbench):
    answer = workbench.replay("gone")
    assert (answer.verdict, answer.reasons) == ("not_replayable", ("model ranker v0 is not in this workspace",))


def test_with_another_version_the_same_request_answers(workbench):
    answer = workbench.replay("gone", edits=Edits(model_version="ranker/v1"))
    assert (answer.verdict, answer.plain.verdict) == ("exact", "not_replayable")


def test_a_what_if_carries_the_plain_replay(workbench):
    answer = workbench.replay("served", edits=Edits((parse_edit("*:price=1"),)))
    assert answer.plain.verdict == "exact"
    assert answer.as_json()["plain_verdict"] == "exact"


@pytest.mark.parametrize(
    ("edits", "kind"),
    [
        (Edits(model_version="v9"), "model version"),
        (Edits(ruleset="rules-7"), "ruleset"),
        (Edits((parse_edit("i9:price=1"),)), "candidate"),
        (Edits((parse_edit("i1:prize=1"),)), "feature"),
    ],
)
def test_what_edits_name_must_exist(workbench, edits, kind):
    with pytest.raises(NotFoundError, match=f"There is no {kind}"):
        workbench.replay("served", edits=edits)


def test_an_unknown_request_has_near_ids(workbench):
    with pytest.raises(NotFoundError) as caught:
        workbench.replay("servd")
    assert caught.value.near[0] == "served"


def test_a_broken_ruleset_does_not_hide_the_others(workbench):
    assert list(workbench.rulesets) == ["rules-1"]
    assert list(workbench.broken_rulesets) == ["broken"]
    with pytest.raises(RulesError, match=r"broken\.toml cannot be read"):
        workbench.ruleset("broken")
    found = {f.what: f.state for f in checkup(workbench)}
    assert (found["ruleset rules-1"], found["ruleset broken"], found["replay"]) == ("ok", "fail", "warn")


def test_rules_that_cannot_be_applied_leave_the_scores_replayed(copied):
    rules = copied / "rulesets" / "rules-1.toml"
    rules.write_text(rules.read_text().replace('by = "genre"', 'by = "maturity"'))
    answer = Workbench.open(copied).replay("served")
    assert (answer.verdict, answer.ruleset, answer.problems[0].kind) == ("exact", None, "ruleset")
    assert answer.problems[0].text.endswith("so positions are not replayed.")


def test_a_missing_ruleset_leaves_the_scores_replayed(copied):
    (copied / "rulesets" / "rules-1.toml").unlink()
    answer = Workbench.open(copied).replay("served")
    assert (answer.verdict, answer.problems[0].text) == (
        "exact",
        "Ruleset rules-1 is not in this workspace, so positions are not replayed.",
    )


def test_a_model_file_that_changed_after_admission_is_not_loaded(copied):
    artifact = copied / "models" / "ranker" / "v1" / "model.txt"
    artifact.write_text(artifact.read_text().replace("num_leaves=4", "num_leaves=5", 1))
    answer = Workbench.open(copied).replay("served")
    assert answer.verdict == "not_replayable"
    assert answer.reasons == ("File 'model.txt' of model 'ranker' version 'v1' changed after it was admitted",)


def test_a_workspace_from_elsewhere_must_be_admitted_here(copied, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_SECRET", "another machine")
    answer = Workbench.open(copied).replay("served")
    assert (answer.verdict, [p.kind for p in answer.problems if p.fatal]) == ("not_replayable", ["not_admitted"])
