"""Commands about versions and training rows."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from tests.cli.test_cli import ask, run
from tests.conftest import bundle_of


@pytest.fixture
def two(replayable, trained):
    """The shop with a second version; its training rows are other ones."""
    made = bundle_of(trained, Workspace.open(replayable).models_dir, "2", parent="1", trained_until="2026-12-01")
    rows = {"request_id": ["r1"] * 3, "item_id": ["a", "b", "c"], "price": [1.0, -1.0, 9.0], "colour": ["red", "green", "blue"]}
    pq.write_table(pa.table({**rows, "label": [0.0, 1.0, 0.0]}), made.folder / "training.parquet")
    Workbench.open(replayable).admit()
    return replayable


def test_compare_answers_part_by_part(capsys, two):
    found = ask(capsys, "models", "compare", two, "ranker", "1", "2")
    assert (found["before"], found["after"]) == ("1", "2")
    assert set(found["sentences"]) == {"manifests", "rows", "leaks", "labels", "skew", "same", "tasks"}
    assert {f["feature"]: f["state"] for f in found["features"]} == {"price": "same", "colour": "same"}
    assert found["same_requests"]["requests"] == 1
    assert "tasks" not in found
    code, out, _ = run(capsys, "models", "compare", two, "ranker", "1", "2")
    assert code == 0
    assert "Training against the log: 1 of 2 features differ" in out


def test_compare_names_an_unknown_version(capsys, two):
    code, _, err = run(capsys, "models", "compare", two, "ranker", "1", "9")
    assert code == 2
    assert "There is no model version '9'" in err


def test_bisect_says_where_an_item_dropped(capsys, two):
    found = ask(capsys, "models", "bisect", two, "r1", "--item", "c")
    assert [v["version"] for v in found["versions"]] == ["1", "2"]
    assert (found["dropped_at"], found["carried"]) == (None, [])
    assert run(capsys, "models", "bisect", two, "r1", "--item", "c")[1].strip().endswith("c fell in none of 2 versions.")
    assert run(capsys, "models", "bisect", two, "r1", "--item", "zz")[0] == 2


def test_explain_tells_the_training_rows_behind_a_score(capsys, two):
    found = ask(capsys, "explain", two, "r1", "--item", "b", "--training")["training"]
    assert (found["rows"], found["used"], found["reproduced"]) == (800, 800, pytest.approx(1.0))
    assert found["near"][0]["likeness"] == 1.0
    assert {v["feature"]: v["state"] for v in found["values"]} == {"price": "seen", "colour": "seen"}
    assert found["slices"][0]["attribute"] == "colour"
    out = run(capsys, "explain", two, "r1", "--item", "b", "--above", "c", "--training")[1]
    assert "800 training rows" in out
    assert "the margin of b over c" in out


@pytest.mark.parametrize("command", ["compare", "bisect"])
def test_commands_document_their_json(capsys, command):
    assert "JSON:" in run(capsys, "models", command, "--help")[1]
