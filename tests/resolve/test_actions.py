import pytest

from diagnosis.errors import DiagnosisError
from diagnosis.resolve.actions import Action, bound, parse_action
from diagnosis.store import Workspace
from tests.resolve.signing import AT

TEXTS = (
    "pin_model:ranker=1?device=tv",
    "pin_ruleset:2026-11-a",
    "set_feature:price=0.5?device=tv,phone;age>=3",
    "set_feature:colour=red",
    "set_feature:colour=last_known",
    "set_feature:price=sentinel",
    "retriever_off:trending@0.5",
    "block_item:a%40b%3Dc",
    "pin_item:i1=3?task=homepage",
    "fallback:popular@0.25?device=tv",
)


@pytest.mark.parametrize("text", TEXTS)
def test_an_action_reads_back_from_its_text_and_from_its_document(text):
    action = parse_action(text, before=AT)
    assert str(action) == text
    assert parse_action(str(action), before=AT) == action
    assert Action.from_json(action.as_json()) == action


def test_a_last_good_value_needs_the_time_since_when_values_are_bad():
    with pytest.raises(DiagnosisError, match="before which values were good"):
        parse_action("set_feature:price=last_good")
    said = parse_action("set_feature:price=last_good", before=AT).sentence
    assert said == "give the model for price its last value from before 2026-11-01T12:00:00Z, else missing"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no action"),
        ("block_item", "is no action"),
        ("blok_item:i1", "did you mean block_item"),
        ("block_item:i1=2", "takes a target alone"),
        ("pin_item:i1", "takes TARGET=VALUE"),
        ("pin_item:i1=0", "cannot be"),
        ("pin_item:i1=first", "cannot be"),
        ("fallback:popular@0", "share of 0"),
        ("fallback:popular@1.5", "share of 1.5"),
        ("fallback:popular?device", "Cannot read the filter"),
        ("pin_ruleset:", "is no action"),
    ],
)
def test_what_is_no_action_says_why(text, said):
    with pytest.raises(DiagnosisError, match=said):
        parse_action(text)


def test_values_of_a_slice_are_written_as_the_serving_side_compares_them(replayable):
    snapshot = Workspace.open(replayable).snapshot()
    action = bound(parse_action("block_item:a?slots=2.0;task=homepage"), snapshot)
    assert action.as_json()["where"] == [["slots", "=", ["2"]], ["task", "=", ["homepage"]]]
    with pytest.raises(DiagnosisError, match="did you mean task"):
        bound(parse_action("block_item:a?tsk=homepage"), snapshot)
    with pytest.raises(DiagnosisError, match="does not fit"):
        bound(parse_action("block_item:a?slots=many"), snapshot)
