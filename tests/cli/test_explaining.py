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
