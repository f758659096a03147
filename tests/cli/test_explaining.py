"""What `explain` adds on request."""

import json

import pytest

from tests.cli.test_cli import ask, run, shop  # noqa: F401


@pytest.fixture
def two(capsys, shop):  # noqa: F811
    """Ask about two of the request's candidates."""
    return lambda *flags: ask(capsys, "explain", shop, "r1", "--item", "b", "--above", "c", *flags)


def test_what_both_share_and_what_differs_add_up_to_the_margin(two):
    found = two()["above"]
    assert found["differing"] + found["alike"] == pytest.approx(found["margin"])
    assert sum(u["difference"] for u in found["upstreams"]) == pytest.approx(found["margin"])
    assert [u["upstream"] for u in found["upstreams"]] == [""]
    assert "inside" not in two()


def test_pairs_add_up_to_the_margin(two):
    found = two("--pairs")
    assert sum(p["difference"] for p in found["inside"]["pairs"]) == pytest.approx(found["above"]["margin"])


def test_swaps_are_edits_that_a_replay_takes(capsys, shop, two):  # noqa: F811
    found = two("--swaps")["inside"]["swaps"]
    assert found["complete"]
    first = found["swaps"][0]
    edited = ask(capsys, "replay", shop, "r1", *(word for edit in first["edits"] for word in ("--set", edit)))
    scores = {c["item_id"]: c["replayed_score"] for c in edited["candidates"]}
    assert scores[found["item"]] - scores[found["above"]] == pytest.approx(first["margin"])
    assert first["margin"] < 0


def test_trees_add_up_and_one_can_be_drawn(two):
    found = two("--trees", "--tree", "0")["inside"]
    assert found["trees"]["residual"] < 1e-12
    assert set(found["tree"]["paths"]) == {"b", "c"}
    assert found["tree"]["dot"].startswith("digraph")
    assert {n["kind"] for n in found["tree"]["drawing"]["nodes"]} <= {"split", "leaf", "folded", "skipped"}


def test_a_surrogate_says_how_well_it_follows(two):
    found = two("--surrogate")["inside"]["surrogate"]
    assert 0 < found["fidelity"] <= 1
    assert {f["feature"] for f in found["features"]} == {"price", "colour"}


def test_tables_for_people_hold_the_same(capsys, shop):  # noqa: F811
    flags = ("--swaps", "--trees", "--tree", "1", "--surrogate", "--pairs")
    code, out, _ = run(capsys, "explain", shop, "r1", "--item", "b", "--above", "c", *flags)
    assert code == 0
    for text in ("would stand above", "trees part b and c", "Around b a line", "question", "with"):
        assert text in out
    alone = run(capsys, "explain", shop, "r1", "--item", "b", "--trees", "--tree", "1")
    assert alone[0] == 0
    assert "b reaches leaf" in alone[1]


def test_what_does_not_fit_is_said(capsys, shop):  # noqa: F811
    assert run(capsys, "explain", shop, "r1", "--item", "b", "--swaps")[0] == 2
    code, _, err = run(capsys, "explain", shop, "r1", "--item", "b", "--tree", "99")
    assert (code, "There is no tree '99'" in err) == (2, True)
    code, _, err = run(capsys, "explain", shop, "r1", "--item", "b", "--layers")
    assert (code, "no neural network" in err) == (3, True)
    code, out, _ = run(capsys, "explain", shop, "r1", "--item", "b", "--above", "c", "--swaps", "--json")
    assert json.loads(out)["inside"]["swaps"]["swaps"]


def test_units_of_a_network_are_told_for_two_candidates(capsys, shop):  # noqa: F811
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import pyarrow as pa

    from diagnosis.models import Bundle, write_bundle
    from diagnosis.reproduce import Workbench
    from diagnosis.store import Workspace
    from tests.conftest import AT
    from tests.models.test_network import FEATURES, network

    workspace = Workspace.open(shop)
    training = pa.table({"price": [0.0, 1.0], "colour": ["red", "red"]})
    bundle = Bundle(shop, "net", "1", "onnx", "net.onnx", features=FEATURES)
    write_bundle(workspace.models_dir, bundle, network().SerializeToString(), training)
    row = {"request_id": ["n1"], "served_at": pa.array([AT], pa.timestamp("us", "UTC")), "task": ["homepage"], "status": ["ok"]}
    requests = pa.table({**row, "model": ["net"], "model_version": ["1"], "slots": [2], "keep_probability": [1.0]})
    columns = {
        "item_id": ["a", "b"],
        "price": [1.0, -2.0],
        "colour": ["red", "blue"],
        "score": [1.0, 8.0],
        "rank": [2, 1],
        "position": [2, 1],
    }
    workspace.append(requests=requests, candidates=pa.table({"request_id": ["n1", "n1"], **columns}))
    Workbench.open(shop).admit("net")
    assert ask(capsys, "replay", shop, "n1")["verdict"] == "exact"
    found = ask(capsys, "explain", shop, "n1", "--item", "a", "--above", "b", "--layers", "--swaps")
    units = {(u["layer"], u["unit"]): u["difference"] for u in found["inside"]["layers"]["units"]}
    assert units == {("input", "price"): 3.0, ("input", "colour"): -2.0, ("hidden1", "unit 0"): 1.0, ("hidden1", "unit 1"): -2.25}
    assert found["method"].startswith("permutation SHAP")
    assert found["above"]["margin"] == -7.0
    alone = ask(capsys, "explain", shop, "n1", "--item", "a", "--layers")["inside"]["layers"]
    assert [u["value"] for u in alone["units"]] == [1.0, 0.0, 1.0, 0.0]


def test_a_background_takes_the_place_of_the_training_rows(capsys, shop):  # noqa: F811
    plain, found = (ask(capsys, "explain", shop, "r1", "--item", "b", *more) for more in ((), ("--against", "2020-01-01..2030-01-01")))
    assert "interventional" in found["method"]
    assert found["score"] == plain["score"]
    assert found["base"] + sum(c["contribution"] for c in found["contributions"]) == pytest.approx(found["score"], abs=1e-12)
    code, _, err = run(capsys, "explain", shop, "r1", "--where", "device=tv")
    assert code == 2
    assert "--against" in err
