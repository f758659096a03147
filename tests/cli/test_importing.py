"""`diagnosis import` of logs that others write."""

import json

import pytest

from tests.cli.test_cli import run

ROW = '{"id": "r1", "at": "2026-11-01T12:00:00Z", "user": "u\\u001b[31m", "items": [{"item_id": "a", "score": 1.0}, {"item_id": "b", "score": 2.0}]}\n'


@pytest.fixture
def source(tmp_path):
    (tmp_path / "log.jsonl").write_text(ROW)
    return tmp_path / "log.jsonl"


def test_a_log_is_drafted_and_then_imported_once(tmp_path, source, capsys):
    shop = str(tmp_path / "shop")
    code, out, _ = run(capsys, "import", shop, "plain", str(source), "--draft")
    assert code == 0
    assert "\x1b" not in out
    assert 'item_id = "items.item_id"' in out
    assert (tmp_path / "shop" / "imports" / "plain.toml").read_text().startswith('kind = "plain"')
    code, out, _ = run(capsys, "import", shop, "plain", str(source), "--json")
    said = json.loads(out)
    assert (code, said["requests"], said["candidates"], said["files"], said["aside"]) == (0, 1, 2, 1, {})
    assert said["notes"] == ["keep_probability is not mapped: every request counts once"]
    _, out, _ = run(capsys, "import", shop, "plain", str(source))
    assert out.startswith("Imported 0 requests with 0 candidates from 0 new files")


def test_outcomes_are_imported_and_how_they_were_joined_is_said(tmp_path, source, capsys):
    shop = tmp_path / "shop"
    run(capsys, "import", str(shop), "plain", str(source), "--draft")
    (tmp_path / "clicks.csv").write_text("who,item,at\nu\x1b[31m,a,2026-11-01T12:00:30Z\nu\x1b[31m,b,2026-11-02T12:00:30Z\n")
    file = shop / "imports" / "plain.toml"
    asked = '[outcomes]\nkind = "plain"\nsource = "../../clicks.csv"\nmember = "who"\nwithin_hours = 6\n'
    file.write_text(file.read_text() + asked + 'item_id = "item"\nevent = {value = "click"}\nhappened_at = "at"\n')
    code, out, _ = run(capsys, "import", str(shop), "plain", str(source))
    assert code == 0
    assert out.startswith("Imported 1 requests with 2 candidates and 1 outcomes from 2 new files")
    assert "1 outcomes wait for their request" in out
    assert "1 outcomes without a request id went to the member's last request within 6 hours before" in out
    _, out, _ = run(capsys, "import", str(shop), "plain", str(source), "--json")
    said = json.loads(out)
    assert (said["files"], said["outcomes"], said["outcomes_waiting"], said["joined"]) == (0, 0, 1, {})


def test_without_a_mapping_or_with_a_second_draft_it_says_what_to_do(tmp_path, source, capsys):
    shop = str(tmp_path / "shop")
    code, _, err = run(capsys, "import", shop, "plain", str(source))
    assert (code, "--draft" in err) == (2, True)
    assert not (tmp_path / "shop").exists()
    run(capsys, "import", shop, "plain", str(source), "--draft")
    code, _, err = run(capsys, "import", shop, "plain", str(source), "--draft")
    assert (code, "is there already" in err) == (2, True)


def test_what_is_no_kind_and_no_importer_names_all_there_are(tmp_path, source, capsys):
    code, _, err = run(capsys, "import", str(tmp_path / "shop"), "kserv", str(source))
    assert code == 2
    assert "databricks, feast, kserve, plain, sagemaker" in err
    code, _, err = run(capsys, "import", str(tmp_path / "shop"), "movielens", str(source), "--draft")
    assert (code, "is no kind of log" in err) == (2, True)


def test_a_source_without_a_request_says_why(tmp_path, capsys):
    (tmp_path / "log.json").write_text("{")
    code, _, err = run(capsys, "import", str(tmp_path / "shop"), "plain", str(tmp_path / "log.json"), "--draft")
    assert (code, "file is not JSON" in err) == (2, True)
