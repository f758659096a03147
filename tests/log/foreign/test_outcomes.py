"""What a document tells of outcomes."""

import pytest

from diagnosis.log.foreign.mapping import parse_mapping
from diagnosis.log.foreign.outcomes import map_outcomes, outcomes_of
from diagnosis.log.foreign.values import Unusable

LEAST = {"requests": {"request_id": "id", "served_at": "at", "task": "task"}, "candidates": {"item_id": "items"}}
AT = 1_793_534_400_000_000


def asked(**outcomes):
    return parse_mapping({**LEAST, "outcomes": outcomes}, "plain").outcomes


def told(document, **outcomes):
    return outcomes_of(document, asked(**outcomes), None)


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ({"items": ["a", "b"], "did": ["click", None]}, [("a", "click")]),
        ({"items": ["a", "b"], "did": [["click", "play"], []]}, [("a", "click"), ("a", "play")]),
        ({"items": ["a", "b"], "did": "view"}, [("a", "view"), ("b", "view")]),
        ({"items": ["a"], "did": 7}, [("a", "7")]),
        ({"items": []}, []),
        ({"did": "view"}, []),
    ],
)
def test_events_of_items_come_in_many_shapes(document, wanted):
    assert [(row["item_id"], row["event"]) for row in told(document, event="did")] == wanted


def test_of_several_events_of_an_item_each_has_its_time_and_value():
    document = {"items": ["a"], "did": [["click", "buy"]], "ts": [["2026-11-01T12:00:00Z", "2026-11-01 12:00:01"]], "paid": [[None, 2.5]]}
    assert told(document, event="did", happened_at="ts", value="paid") == [
        {"item_id": "a", "event": "click", "happened_at": AT, "value": None, "time_quality": "exact"},
        {"item_id": "a", "event": "buy", "happened_at": AT + 1_000_000, "value": 2.5, "time_quality": "approximate"},
    ]


@pytest.mark.parametrize(("flag", "hits"), [(True, 1), (1, 1), (0, 0), (0.0, 0), (float("nan"), 0), (None, 0), (-1, 1)])
def test_only_what_is_true_is_an_outcome(flag, hits):
    assert len(told({"items": ["a"], "hit": flag}, event={"value": "click"}, when="hit")) == hits


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"items": ["a"], "hit": "yes"}, "outcomes.when is neither true nor false nor a number"),
        ({"items": ["a", "b"], "hit": [1, 1, 1]}, "outcomes.when has not one value for each item"),
        ({"items": [1.5], "hit": 1}, "outcomes.item_id is no text"),
    ],
)
def test_what_cannot_be_told_is_not_guessed(document, said):
    with pytest.raises(Unusable, match=said):
        told(document, event={"value": "click"}, when="hit")


def test_one_row_that_is_none_costs_only_itself():
    own = {"kind": "plain", "source": "clicks", "request_id": "r", "item_id": "i", "event": "e", "when": "hit"}
    rows = [{"r": "r1", "i": "a", "e": "click", "hit": 1}, {"r": "r1", "i": "a", "e": None, "hit": 1}, {"r": "r1", "i": "a", "e": "x"}]
    found, aside = map_outcomes([(row, f"f:{n}") for n, row in enumerate(rows)], asked(**own), None)
    assert found == [{"request_id": "r1", "item_id": "a", "event": "click"}]
    assert [(a.place, a.reason) for a in aside] == [("f:1", "outcomes.event is missing"), ("f:2", "outcomes.when is missing")]
