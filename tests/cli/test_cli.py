"""The command line as programs and people use it."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from diagnosis.cli import main
from diagnosis.reproduce import Workbench
from tests.models.cascade import write_cascade


def run(capsys, *arguments):
    """Exit status, standard output, standard error."""
    try:
        main([str(a) for a in arguments])
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def ask(capsys, *arguments):
    """The JSON document of a command that answers."""
    code, out, _ = run(capsys, *arguments, "--json")
    assert code in (0, 3)
    return json.loads(out)


@pytest.fixture
def shop(replayable):
    Workbench.open(replayable).admit()
    return replayable


def test_help_is_quick_to_import():
    code = (
        "import sys\nfrom diagnosis.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'shap', 'lightgbm', 'sklearn', 'statsmodels', 'streamlit', 'duckdb', 'pandas', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_every_subcommand_documents_its_json():
    out = subprocess.run([sys.executable, "-m", "diagnosis", "--help"], capture_output=True, text=True, check=True).stdout
    for command in ("check", "find", "replay", "inputs", "explain", "diagnose", "localize", "import"):
        assert command in out
        text = subprocess.run([sys.executable, "-m", "diagnosis", command, "--help"], capture_output=True, text=True, check=True).stdout
        assert re.search(r"JSON( of \w+ ?\w*)?:", text)


def test_find_counts_what_the_sample_stands_for(capsys, shop):
    found = ask(capsys, "find", shop, "--where", "status=ok")
    assert (found["kept"], found["estimated"]) == (1, 4.0)
    assert found["requests"][0]["request_id"] == "r1"
    assert found["requests"][0]["served_at"] == "2026-11-01T12:00:00Z"


def test_replay_answers_with_its_verdict(capsys, shop):
    assert ask(capsys, "replay", shop, "r1")["verdict"] == "exact"
    changed = ask(capsys, "replay", shop, "r1", "--set", "*:price=0.5")
    assert (changed["edits"], changed["first_stage"]) == (["*:price=0.5"], "features")


def test_what_cannot_be_said_exits_with_3(capsys, shop):
    code, out, _ = run(capsys, "replay", shop, "r2", "--json")
    assert (code, json.loads(out)["verdict"], json.loads(out)["first_stage"]) == (3, "not_replayable", "served")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("replay", "r9"), "There is no request 'r9'"),
        (("replay", "r1", "--set", "price=1"), "item:feature=value"),
        (("replay", "r1", "--set", "a:prize=1"), "There is no feature 'prize'"),
        (("replay", "r1", "--model-version", "7"), "There is no model version '7'"),
        (("find", "--where", "statsu=ok"), "There is no attribute 'statsu'"),
        (("find", "--since", "yesterday"), "is no time"),
        (("explain", "r1", "--item", "a", "--above", "zz"), "There is no candidate 'zz'"),
        (("import", "no-such-kind", "."), "There is no importer"),
        (("case", "show", "zz"), "There is no case"),
        (("share", "revoke", "zz"), "There is no share"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exits_with_2(capsys, shop, arguments, message):
    command = arguments[:2] if arguments[0] in ("case", "share") else arguments[:1]
    code, out, err = run(capsys, *command, shop, *arguments[len(command) :])
    assert (code, out) == (2, "")
    assert message in err.splitlines()[0]
    assert len(err.splitlines()) <= 2


def test_an_unknown_folder_and_no_arguments(capsys, tmp_path):
    assert run(capsys, "check", tmp_path / "none")[0] == 2
    assert run(capsys)[0] == 2
    assert run(capsys, "replay")[0] == 2


def test_inputs_explain_and_check(capsys, shop):
    checks = ask(capsys, "inputs", shop, "r1")
    assert {c["outcome"] for c in checks["checks"]} == {"ok"}
    why = ask(capsys, "explain", shop, "r1", "--item", "b", "--above", "c")
    assert why["residual"] < 1e-9
    assert sum(d["difference"] for d in why["above"]["differences"]) == pytest.approx(why["above"]["margin"])
    assert why["funnel"]["stages"][0] == {"stage": "retrieved", "outcome": "passed", "text": "proposed by a retriever that was not logged"}
    absent = ask(capsys, "explain", shop, "r1", "--item", "zz")
    assert "contributions" not in absent
    found = ask(capsys, "check", shop)
    assert (found["ok"], {f["state"] for f in found["findings"]}) == (True, {"ok", "warn"})


def test_without_contract_and_model_inputs_cannot_say_and_explain_says_what_to_add(capsys, shop):
    shutil.rmtree(shop / "models")
    shutil.rmtree(shop / "contracts", ignore_errors=True)
    code, out, _ = run(capsys, "inputs", shop, "r1")
    assert (code, out.splitlines()[-1]) == (3, "Nothing could be checked: there is no feature contract and no training sample.")
    assert run(capsys, "inputs", shop, "r1", "--json")[0] == 3
    assert "no model is here yet: `diagnosis models add` adds one." in run(capsys, "explain", shop, "r1")[2]


def test_models_are_added_admitted_and_listed(capsys, shop, trained, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    booster, frame, _ = trained
    booster.save_model(tmp_path / "m.txt")
    pq.write_table(pa.table({"price": frame["price"].to_numpy(), "colour": frame["colour"].astype(str).to_numpy()}), tmp_path / "t.parquet")
    made = ask(
        capsys, "models", "add", shop, tmp_path / "m.txt", "--name", "ranker", "--version", "2", "--training", tmp_path / "t.parquet"
    )
    assert made["features"] == 2
    listed = ask(capsys, "models", "list", shop)["models"]
    assert [(m["version"], m["admitted_at"] is not None) for m in listed] == [("1", True), ("2", True)]
    assert ask(capsys, "replay", shop, "r1", "--model-version", "ranker/2")["gap"] == 0.0
    again = run(capsys, "models", "add", shop, tmp_path / "m.txt", "--name", "ranker", "--version", "2")
    assert again[0] == 2


def test_name_and_version_are_the_manifests_unless_given(capsys, shop, trained, tmp_path):
    (tmp_path / "m.txt").write_text(trained[0].model_to_string())
    manifest = (shop / "models" / "ranker" / "1" / "model.toml").read_text()
    (tmp_path / "model.toml").write_text(manifest.replace('version = "1"', 'version = "4"'))
    made = ask(capsys, "models", "add", shop, tmp_path / "m.txt", "--manifest", tmp_path / "model.toml")
    assert (made["name"], made["version"]) == ("ranker", "4")
    made = ask(capsys, "models", "add", shop, tmp_path / "m.txt", "--manifest", tmp_path / "model.toml", "--version", "5")
    assert (made["name"], made["version"]) == ("ranker", "5")
    code, _, err = run(capsys, "models", "add", shop, tmp_path / "m.txt", "--name", "ranker")
    assert code == 2
    assert "--version" in err


def test_a_composite_is_added_as_its_manifest_says(capsys, shop, trained, tmp_path):
    written = write_cascade(trained, tmp_path).folder
    made = ask(capsys, "models", "add", shop, written / "heavy.txt", "--manifest", written / "model.toml")
    assert (made["name"], made["version"]) == ("cascade", "1")
    assert (shop / "models" / "cascade" / "1" / "light.txt").exists()


def test_a_model_that_cannot_be_admitted_leaves_nothing_behind(capsys, shop, trained, tmp_path):
    (tmp_path / "m.txt").write_text(trained[0].model_to_string()[:900])
    code, _, err = run(capsys, "models", "add", shop, tmp_path / "m.txt", "--name", "ranker", "--version", "3")
    assert code == 2
    assert err
    assert not (shop / "models" / "ranker" / "3").exists()


def test_a_contract_is_drafted_and_never_overwritten(capsys, shop):
    assert "[[feature]]" in ask(capsys, "contract", "infer", shop)["toml"]
    assert run(capsys, "contract", "infer", shop, "--write")[0] == 0
    assert run(capsys, "contract", "infer", shop, "--write")[0] == 2


def test_a_case_from_the_beginning_to_the_report(capsys, shop):
    made = ask(capsys, "case", "new", shop, "Prices look odd")
    ask(capsys, "case", "note", shop, made["id"], "price in cents", "--kind", "verdict")
    assert ask(capsys, "case", "show", shop, made["id"])["verdict"] == "price in cents"
    assert [c["id"] for c in ask(capsys, "case", "list", shop)["cases"]] == [made["id"]]
    assert ask(capsys, "case", "close", shop, made["id"])["status"] == "closed"
    assert "price in cents" in ask(capsys, "case", "report", shop, made["id"])["text"]


def test_a_share_from_the_command_line_hides_members(capsys, shop):
    from diagnosis.cases import open_share
    from diagnosis.store import Workspace

    made = ask(capsys, "share", "create", shop, "r1")
    html = open_share(Workspace.open(shop).state(), made["path"].removeprefix("/s/"))
    assert "Request r1" in html
    assert "secret-member" not in html
    assert ask(capsys, "share", "revoke", shop, made["share"])["status"] == "revoked"
    assert [s["status"] for s in ask(capsys, "share", "list", shop)["shares"]] == ["revoked"]


def test_text_from_the_log_cannot_control_the_terminal():
    from diagnosis.cli.output import plain

    assert plain("a\x1b[31mred\x07\u202e\nb") == "a [31mred   b"


def test_json_has_no_nan(capsys, shop):
    code, out, _ = run(capsys, "replay", shop, "r2", "--json")
    assert code == 3
    assert "NaN" not in out
