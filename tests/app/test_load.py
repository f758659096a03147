"""What the app keeps, and when it forgets it."""

import pytest

from app import load
from diagnosis.errors import NotFoundError, WorkspaceError
from diagnosis.reproduce import Workbench


def test_an_answer_is_kept_while_nothing_changes(shop):
    held = load.bench("shop")
    assert load.diagnosis(held, "r1", None) is load.diagnosis(load.bench("shop"), "r1", None)


@pytest.mark.parametrize(
    "file", ["rulesets/a.toml", "contracts/features.toml", "environments.toml", "models/ranker/1/model.toml", "models/ranker/1/model.txt"]
)
def test_an_answer_is_forgotten_when_what_it_stands_on_changes(shop, file):
    before = load.bench("shop").key
    (shop / file).write_text((shop / file).read_text() + "\n# changed\n")
    load.refresh()
    assert load.bench("shop").key != before


def test_an_answer_is_forgotten_when_a_model_is_admitted_elsewhere(shop, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_SECRET", "another machine")
    load.refresh()
    held = load.bench("shop")
    assert load.diagnosis(held, "r1", None).replay.verdict == "not_replayable"
    monkeypatch.setenv("DIAGNOSIS_SECRET", "of the tests")
    load.refresh()
    assert load.diagnosis(load.bench("shop"), "r1", None).replay.verdict == "exact"


def test_new_requests_are_seen_after_reading_anew(shop):
    import pyarrow as pa

    held = load.bench("shop")
    with pytest.raises(NotFoundError):
        load.diagnosis(held, "r4", None)
    old = held.workbench.request("r1")
    requests = old.requests.set_column(old.requests.column_names.index("request_id"), "request_id", pa.array(["r4"]))
    table = old.table.set_column(old.table.column_names.index("request_id"), "request_id", pa.array(["r4"] * 3))
    Workbench.open(shop).workspace.append(requests=requests, candidates=table)
    load.refresh()
    assert load.diagnosis(load.bench("shop"), "r4", None).replay.verdict == "exact"


def test_a_workspace_that_is_not_served_is_no_other(shop):
    with pytest.raises(WorkspaceError, match="'elsewhere' is not served here"):
        load.bench("elsewhere")


def test_features_are_what_the_model_is_given(shop):
    held = load.bench("shop")
    request = held.workbench.request("r1")
    given = load.features(held, request, "")
    assert given["price"].tolist() == [1.0, -1.0, 0.2]
    assert given["colour"].tolist() == ["red", "green", "blue"]
    assert load.features(held, request, "ranker/2").columns.tolist() == ["price", "colour"]
