"""What `diagnosis launches` prints, and how it ends."""

import json

import pyarrow as pa
import pytest

from diagnosis.store import Workspace
from tests.cli.test_cli import run
from tests.predict.shop import days


def test_the_document_has_the_keys_that_the_help_names(shop, capsys):
    code, out, _ = run(capsys, "launches", shop.workspace.path, "--item", "recalled", "--no-keep", "--json")
    answer = json.loads(out)
    assert code == 0
    assert set(answer) == {
        "until", "days", "data", "forecasts", "earlier_launches", "intervals", "slope", "correlation", "production", "notes", "elapsed_s",
    }  # fmt: skip
    (found,) = answer["forecasts"]
    assert (found["item"], found["flag"], found["reasons"][0]["target"]) == ("recalled", "buried", "nothing_recalled")
    assert set(found["first_week"]) == {"exposure", "shown", "position", "success", "positives", "tasks"}
    assert set(found["first_week"]["exposure"]) == {"value", "low", "high"}


def test_people_read_why_and_what_would_mend_it(shop, capsys):
    code, out, _ = run(capsys, "launches", shop.workspace.path, "--item", "blank", "--no-keep")
    assert code == 0
    assert "why: grade is missing" in out
    assert "fix: fill grade" in out


def test_forecasts_that_wait_are_said_to(copy, capsys):
    bench = copy()
    assert run(capsys, "launches", bench.workspace.path, "--item", "recalled")[0] == 0
    code, out, _ = run(capsys, "launches", bench.workspace.path, "--score")
    assert (code, out.strip()) == (0, "No forecast can be scored yet; 1 wait for their day.")


def test_an_unknown_item_is_a_bad_argument(shop, capsys):
    code, _, error = run(capsys, "launches", shop.workspace.path, "--item", "recaled")
    assert code == 2
    assert "recalled" in error


def test_a_workspace_without_items_cannot_say(tmp_path, capsys):
    Workspace.create(tmp_path / "w", id="w")
    code, _, error = run(capsys, "launches", tmp_path / "w")
    assert code == 3
    assert "no items table" in error


@pytest.mark.parametrize("scored", [(), ("--score",)])
def test_launches_that_nobody_knows_cannot_be_told(tmp_path, capsys, scored):
    workspace = Workspace.create(tmp_path / "w", id="w")
    workspace.replace("items", pa.table({"item_id": ["a"], "launched_at": days([1.0])}))
    code, _, error = run(capsys, "launches", tmp_path / "w", *scored)
    assert code == 3
    assert "No request is logged" in error


def test_titles_cannot_control_the_terminal(copy, capsys):
    table = pa.table({"item_id": ["evil"], "title": ["\x1b[2J<b>x"], "launched_at": days([16.0])})
    code, out, _ = run(capsys, "launches", copy(table).workspace.path, "--no-keep")
    assert code == 0
    assert "\x1b" not in out
