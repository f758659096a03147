"""From options to undo on the command line."""

import json

import pytest

from diagnosis.cli import main
from diagnosis.localize import localize
from diagnosis.metrics import metric
from tests.localize import market as m
from tests.resolve.stall import open_stall, shuffled_in_browse


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIAGNOSIS_SECRET", "stall")
        bench = open_stall(tmp_path_factory.mktemp("cli") / "stall", shuffled_in_browse(2000), m.boosters())
        answer = localize(bench, metric("ctr"), m.BASELINE, m.INCIDENT)
    found = bench.workspace.path.with_name("found.json")
    found.write_text(json.dumps(answer.as_json()))
    return bench.workspace.path, found


@pytest.fixture
def run(built, tmp_path, monkeypatch, capsys):
    """Runs a command in this process; gives its exit status, what it printed and what it said to standard error."""
    monkeypatch.setenv("DIAGNOSIS_SECRET", "stall")
    monkeypatch.setenv("DIAGNOSIS_STATE", f"sqlite:///{tmp_path / 'state.db'}")

    def ran(*arguments):
        try:
            main([str(a) for a in arguments])
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        out = capsys.readouterr()
        return status, out.out, out.err

    return ran


@pytest.fixture
def people(run, tmp_path, monkeypatch):
    """Two people with keys; gives their files."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    lines = [run("hotfix", "keygen", folder / f"{name}.pem", "--name", name)[1] for name in ("anna", "bo")]
    (tmp_path / "out").mkdir()
    trusted = folder / "trusted.toml"
    trusted.write_text(f'threshold = 2\npublish_to = "{tmp_path / "out"}"\n[keys]\n{"".join(lines)}')
    trusted.chmod(0o600)
    monkeypatch.setenv("DIAGNOSIS_TRUSTED_KEYS", str(trusted))
    return [folder / "anna.pem", folder / "bo.pem"]


GOOD = "set_feature:discount=last_good?task=browse"


def admitted(run, workspace):
    """A state database of the test's own knows no models yet."""
    assert run("models", "admit", workspace)[0] == 0


def test_from_options_to_undo(run, built, people, tmp_path):
    workspace, found = built
    admitted(run, workspace)
    status, out, _ = run("hotfix", "options", workspace, "--found", found, "--requests", 1500, "--json")
    best = json.loads(out)["options"][0]
    assert (status, best["name"]) == (0, "last_good")
    file = tmp_path / "fix.json"
    status, out, _ = run(
        "hotfix", "propose", workspace, file, "--found", found, *(w for a in best["actions"] for w in ("--action", a)),
        "--reason", "noise", "--max-share", 1, "--requests", 1500,
    )  # fmt: skip
    assert status == 0
    assert "Every signer runs" in out
    status, _, err = run("hotfix", "publish", workspace, file)
    assert (status, "0 of 2 signatures" in err) == (2, True)
    for key in people:
        assert run("hotfix", "sign", file, "--key", key, "--yes")[0] == 0
    told = json.loads(run("hotfix", "publish", workspace, file, "--json")[1])
    assert (told["signed_by"], told["one_person"], told["status"]) == (["anna", "bo"], False, "published")
    status, out, _ = run("hotfix", "status", workspace, told["serial"])
    assert "cannot be told yet" in out
    assert json.loads(run("hotfix", "undo", workspace, told["serial"], "--json")[1])["status"] == "undone"
    assert '"actions":[]' in next((tmp_path / "out").iterdir()).read_text()
    assert "undone" in run("hotfix", "list", workspace)[1]


def test_a_rehearsal_says_what_it_found_and_a_refused_one_has_a_status_of_its_own(run, built):
    workspace, found = built
    admitted(run, workspace)
    status, out, _ = run("rehearse", workspace, "--found", found, "--action", GOOD, "--requests", 1500)
    assert (status, "Nothing speaks against it" in out, "with the fix" in out) == (0, True, True)
    status, out, _ = run("rehearse", workspace, "--found", found, "--action", "set_feature:discount=0.5", "--requests", 1500)
    assert (status, "REFUSED: It harms gift" in out) == (5, True)
    status, out, _ = run(
        "rehearse",
        workspace,
        "--found",
        found,
        "--action",
        "set_feature:discount=0.5",
        "--requests",
        1500,
        "--accept-harm",
        "gift",
        "--json",
    )
    assert (status, json.loads(out)["accepted"]) == (0, ["gift"])
    status, _, err = run("rehearse", workspace, "--found", found, "--action", "fallback:nobody", "--requests", 1500)
    assert (status, "too few to learn" in err) == (3, True)


def test_a_refused_fix_leaves_no_file_to_sign(run, built, tmp_path):
    workspace, found = built
    admitted(run, workspace)
    file = tmp_path / "fix.json"
    status, _, err = run(
        "hotfix", "propose", workspace, file, "--found", found, "--action", "set_feature:discount=0.5", "--reason", "x",
        "--max-share", 1, "--requests", 1500,
    )  # fmt: skip
    assert (status, file.exists()) == (2, False)
    assert "It harms gift" in err


def test_one_person_mode_is_said_loudly(run, built, people, tmp_path, monkeypatch):
    workspace, found = built
    admitted(run, workspace)
    trusted = people[0].with_name("trusted.toml")
    trusted.write_text(trusted.read_text().replace("threshold = 2", "threshold = 1"))
    file = tmp_path / "fix.json"
    run("hotfix", "propose", workspace, file, "--found", found, "--action", GOOD, "--reason", "x", "--max-share", 1, "--requests", 1500)
    run("hotfix", "sign", file, "--key", people[0], "--yes")
    status, out, err = run("hotfix", "publish", workspace, file, "--json")
    assert (status, json.loads(out)["one_person"]) == (0, True)
    assert "WARNING: One-person mode" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rehearse", "{w}"), "No action is given"),
        (("rehearse", "{w}", "--action", "drop_table:x"), "There is no action 'drop_table'"),
        (("rehearse", "{w}", "--found", "{w}/diagnosis.toml", "--action", GOOD), "is no document of"),
        (("hotfix", "options", "{w}"), "No cause is known yet"),
        (("hotfix", "options", "{w}", "--incident", "none"), "There is no incident 'none'"),
        (("hotfix", "publish", "{w}", "{w}/diagnosis.toml"), "No file of trusted keys"),
        (("hotfix", "sign", "{w}/diagnosis.toml", "--key", "{w}/none.pem", "--yes"), "no prepared hotfix"),
    ],
)
def test_a_bad_argument_is_one_line_and_a_hint(run, built, arguments, said, monkeypatch):
    monkeypatch.delenv("DIAGNOSIS_TRUSTED_KEYS", raising=False)
    status, _, err = run(*(str(a).replace("{w}", str(built[0])) for a in arguments))
    assert status == 2
    assert said in err
    assert "Traceback" not in err
