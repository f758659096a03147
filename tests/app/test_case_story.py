"""The case screen's story, without a browser."""

import pytest

from diagnosis.cases import add_entry, add_localization, create_case, get_case, hypotheses, watches
from diagnosis.localize import localize, metric_of, parse_window
from diagnosis.reproduce import Workbench
from tests.app.incident_shop import BASELINE, INCIDENT
from tests.app.test_screens import labelled, screen, words

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def told(troubled):
    """A workbench, and a case with what a localization found; another case is like it."""
    bench = Workbench.open(troubled)
    answer = localize(bench, metric_of(bench, "score_mean"), parse_window(BASELINE), parse_window(INCIDENT))
    made = []
    for title in ("Scores last year", "Scores went wrong"):
        case = create_case(bench.state, "shop", title)
        add_localization(bench.state, "shop", case.id, answer)
        made.append(case)
    add_entry(bench.state, "shop", made[0].id, "action", "asked pricing to roll back")
    return bench, made[1].id


def test_the_case_tells_its_story(told):
    _, case = told
    said = words(screen("case", w="shop", case=case))
    assert "✓ accepted feature price for device tv" in said
    assert "✗ rejected" in said
    assert "Could we have detected it sooner? Detection did not find it" in said
    assert "Similarity 1.00; both have component feature, target price, device tv" in said
    assert "Then: asked pricing to roll back" in said
    assert "This part failed" not in said


def test_a_button_adds_the_check_to_detection(told):
    bench, case = told
    test = screen("case", w="shop", case=case)
    labelled(test.button, "Add this check to detection").click().run()
    (watch,) = watches(bench.state, "shop")
    assert (watch.metric, watch.where, watch.case) == ("score_mean", "device=tv", case)
    assert "Detection watches score_mean where device=tv since" in words(test)


def test_a_hypothesis_is_rejected_with_a_reason(told):
    bench, case = told
    test = screen("case", w="shop", case=case)
    test.text_input(key="decide-why").set_value("prices were right").run()
    test.button(key="decided").click().run()
    known = {h.name: (h.state, h.why) for h in hypotheses(get_case(bench.state, "shop", case))}
    assert known["feature price for device tv"] == ("rejected", "prices were right")
    assert "This part failed" not in words(test)


def test_a_case_without_anything_is_no_error(troubled):
    case = create_case(Workbench.open(troubled).state, "shop", "Odd").id
    said = words(screen("case", w="shop", case=case))
    assert "No cause was accepted, so nobody can say." in said
    assert "This part failed" not in said
