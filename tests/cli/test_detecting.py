"""`diagnosis detect` tells by its exit status whether something is new."""

import json

import pytest

from diagnosis.cli import main
from tests.detect.kiosk import kiosk


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main([str(a) for a in arguments])
    return left.value.code, capsys.readouterr()


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("w") / "kiosk"
    kiosk(folder, 7 * 24, failing=lambda at, place: (at >= 6 * 24) * 0.3 + 0.02)
    return folder


def test_something_new_is_status_4_and_the_same_again_is_status_0(troubled, capsys):
    code, said = run(capsys, "detect", troubled, "--no-localize")
    assert code == 4
    assert "error_rate rose to" in said.out
    code, said = run(capsys, "detect", troubled, "--no-localize", "--json")
    assert code == 0
    told = json.loads(said.out)
    assert (told["new"], [i["metric"] for i in told["incidents"]], told["hours_read"]) == ([], ["error_rate"], 0)


def test_too_little_history_is_status_3_and_says_so(tmp_path, capsys):
    kiosk(tmp_path / "kiosk", 20)
    code, said = run(capsys, "detect", tmp_path / "kiosk")
    assert code == 3
    assert "hours of history" in said.err


def test_hours_after_the_log_cannot_be_judged(troubled, capsys):
    code, said = run(capsys, "detect", troubled, "--since", "2027-01-01")
    assert code == 3
    assert "the log ends" in said.err.lower()


def test_an_unknown_time_zone_is_named_with_its_setting(tmp_path, capsys):
    kiosk(tmp_path / "kiosk", 60)
    with open(tmp_path / "kiosk" / "diagnosis.toml", "a", encoding="utf-8") as file:
        file.write('\n[detect]\ntimezone = "Mars/Olympus"\n')
    code, said = run(capsys, "detect", tmp_path / "kiosk")
    assert code == 2
    assert "detect.timezone" in said.err
