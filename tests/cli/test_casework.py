"""`diagnosis case`: findings, timeline, similar cases, post-mortem, checks."""

import json

import pytest

from diagnosis.cli import main

FOUND = {
    "metric": "ctr",
    "baseline": {"since": "2026-10-01T00:00:00Z", "until": "2026-10-31T00:00:00Z"},
    "incident": {"since": "2026-11-01T06:00:00Z", "until": "2026-11-01T13:00:00Z"},
    "causes": [
        {
            "component": "feature", "target": "price", "slice": {"task": ["homepage"]}, "since": "2026-11-01T06:00:00Z", "explains": 0.9,
            "proof": "replay", "confidence": 0.9, "evidence": [{"kind": "stale", "text": "old"}],
        }
    ],
    "ruled_out": [{"component": "model", "target": None, "reason": "same version"}],
}  # fmt: skip


@pytest.fixture
def run(replayable, capsys):
    def ran(command, *arguments):
        try:
            main(["case", command, str(replayable), *map(str, arguments)])
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        out = capsys.readouterr()
        return status, out.out, out.err

    return ran


def test_a_case_from_findings_to_post_mortem(run, tmp_path):
    found = tmp_path / "found.json"
    found.write_text(json.dumps(FOUND))
    first, second = (run("new", title)[1].strip() for title in ("Prices", "Prices again"))
    for case in (first, second):
        assert run("find", case, found)[1].strip() == "2 hypotheses."
    events = json.loads(run("timeline", first, "--json")[1])["events"]
    assert [e["what"] for e in events] == ["onset", "opened", "accepted", "rejected"]
    assert json.loads(run("similar", second, "--json")[1])["cases"][0]["similarity"] == 1.0
    made = json.loads(run("postmortem", first, "--json")[1])
    assert [a["check"] for a in made["answers"]] == [{"name": "ctr task=homepage", "metric": "ctr", "where": "task=homepage"}, None, None]
    assert "## Could we have predicted it?" in run("postmortem", first)[1]
    assert "<h2>Timeline</h2>" in run("postmortem", first, "--html")[1]


def test_a_check_is_added_listed_and_removed(run):
    assert run("check", "fallbacks", "--metric", "fallback_rate", "--where", "task=homepage")[0] == 0
    (kept,) = json.loads(run("checks", "--json")[1])["checks"]
    assert (kept["name"], kept["metric"], kept["where"]) == ("fallbacks", "fallback_rate", "task=homepage")
    assert run("check", "fallbacks", "--remove")[0] == 0
    assert json.loads(run("checks", "--json")[1])["checks"] == []
    status, _, err = run("check", "x", "--metric", "ctrl")
    assert (status, "There is no metric 'ctrl'" in err) == (2, True)


def test_an_unknown_case_is_one_line(run):
    status, _, err = run("postmortem", "none")
    assert (status, "There is no case 'none'" in err) == (2, True)
