"""Forecasts of a shop whose launches were planted."""

import math

import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.predict import BURIED, launches
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from tests.predict.shop import SOON, Shop, days, items_of


def test_every_item_that_launches_in_time_has_a_forecast(answer):
    assert {found.item for found in answer.forecasts} == set(SOON)


def test_an_item_that_a_rule_drops_is_flagged_buried_by_that_rule(answer):
    found = answer.of("recalled")
    assert (found.flag, found.reasons[0].kind, found.reasons[0].target) == (BURIED, "rule", "nothing_recalled")
    assert found.horizons["first_week"].all.exposure.value < 1e-3
    assert found.fixes[0].text == "exempt it from rule nothing_recalled"


def test_an_attribute_that_nobody_filled_buries_an_item_and_filling_it_mends_that(answer):
    found = answer.of("blank")
    assert (found.flag, found.reasons[0].kind, found.reasons[0].target) == (BURIED, "feature", "grade")
    assert found.fixes[0].target == "grade"
    assert found.fixes[0].exposure > 10 * max(found.horizons["first_week"].all.exposure.value, 1e-6)


def test_launches_with_which_nothing_is_wrong_are_not_flagged(answer):
    assert [answer.of(item).flag for item in ("plain-lamp", "plain-chair")] == ["", ""]


def test_flagged_launches_come_first(answer):
    assert {found.item for found in answer.forecasts[:2]} == {"recalled", "blank"}


def test_a_retriever_that_never_proposed_a_kind_is_not_expected_to_propose_the_next_of_it(answer):
    assert answer.of("hidden-rug").reach["new"]["browse"] < 0.05
    assert answer.of("plain-lamp").reach["new"]["browse"] > 0.3


def test_intervals_hold_the_forecast_and_shares_are_shares(answer):
    for found in answer.forecasts:
        for horizon in found.horizons.values():
            ends = horizon.all.exposure
            assert 0 <= ends.low <= ends.value <= ends.high <= 1
            assert horizon.tasks.keys() == {"browse"}


def test_rehearsals_of_earlier_launches_tell_them_apart(answer):
    assert answer.correlation > 0.8
    assert answer.earlier >= 19
    assert answer.how == "conformal"


def test_the_same_question_has_the_same_answer(shop):
    first, second = (launches(shop, item="plain-lamp", requests=60).as_json() for _ in range(2))
    assert {k: v for k, v in first.items() if k != "elapsed_s"} == {k: v for k, v in second.items() if k != "elapsed_s"}


def test_an_item_is_found_by_its_title(shop):
    assert [found.item for found in launches(shop, item="The plain-lamp", requests=300).forecasts] == ["plain-lamp"]


def test_an_unknown_item_is_not_found(shop):
    with pytest.raises(NotFoundError):
        launches(shop, item="no such lamp")


def test_an_item_that_has_launched_is_not_forecast(shop):
    with pytest.raises(CannotSayError, match="before the log ends"):
        launches(shop, item="i000")


def test_without_an_items_table_nothing_can_be_said(tmp_path):
    with pytest.raises(CannotSayError, match="no items table"):
        launches(Workbench.open(Workspace.create(tmp_path / "bare", id="bare").path))


@pytest.mark.parametrize("column", [pa.nulls(2, pa.timestamp("us", "UTC")), pa.nulls(2, pa.string())])
def test_launches_that_are_all_null_are_said_to_be(copy, column):
    with pytest.raises(CannotSayError, match="null for every item"):
        launches(copy(pa.table({"item_id": ["i000", "i001"], "launched_at": column})))


def test_an_items_table_without_launches_is_said_to_have_none(copy):
    with pytest.raises(CannotSayError, match="no column launched_at"):
        launches(copy(pa.table({"item_id": ["i000"]})))


def test_launches_of_the_far_past_leave_nothing_to_forecast(copy):
    found = launches(copy(pa.table({"item_id": ["i000", "i001"], "launched_at": days([-4000.0, -3000.0])})), requests=200)
    assert found.forecasts == ()
    assert any("No item launches" in note for note in found.notes)


def test_an_item_without_attributes_is_forecast_widely(copy):
    table = pa.table({"item_id": ["i000", "i001", "naked"], "launched_at": days([-40.0, -30.0, 16.0])})
    found = launches(copy(table), requests=200)
    ends = found.of("naked").horizons["first_week"].all.exposure
    assert found.how == "assumed"
    assert ends.high > 5 * max(ends.value, 1e-9)
    assert math.isnan(found.of("naked").reference)
    assert any("No earlier launch" in note for note in found.notes)


def test_a_model_that_was_not_admitted_cannot_forecast(copy):
    bench = copy()
    with bench.state.begin() as connection:
        connection.exec_driver_sql("delete from admissions")
    with pytest.raises(CannotSayError, match="not admitted"):
        launches(bench.refreshed())


def test_a_retriever_that_does_not_reach_an_item_is_the_reason_that_it_is_buried(copy):
    shop = Shop()
    expected = dict.fromkeys(shop.ids, 100.0)
    soon = {"rug": ("rug", 0.62, False)}
    found = launches(copy(items_of(shop, soon, {**expected, "rug": 1500.0})), requests=500).of("rug")
    assert (found.flag, found.against) == (BURIED, "team")
    assert ("retriever", "new") in [(reason.kind, reason.target) for reason in found.reasons]
    assert "proposes it in 0% of the requests" in next(r.text for r in found.reasons if r.kind == "retriever")


def test_rules_that_need_what_the_log_lacks_are_left_out_and_named(copy):
    bench = copy()
    file = bench.workspace.rulesets_dir / "spring.toml"
    file.write_text(file.read_text() + '[[rule]]\nname = "odd"\nkind = "cap"\nby = "nowhere"\nat_most = 1\n')
    found = launches(bench.refreshed(), item="recalled", requests=200)
    assert any("odd" in note and "scores alone" in note for note in found.notes)
    assert found.of("recalled").flag == ""


def test_what_a_team_expects_is_learned_from_what_earlier_teams_got(copy):
    shop = Shop()
    expected = {item: 100.0 for item in shop.ids}
    found = launches(
        copy(items_of(shop, {"plain-lamp": ("lamp", 0.55, False), "dream": ("lamp", 0.55, False)}, {**expected, "dream": 4000.0})),
        requests=300,
    )
    dream, plain = found.of("dream"), found.of("plain-lamp")
    assert (dream.flag, dream.against) == (BURIED, "team")
    assert (plain.flag, plain.against) == ("", "alike")


def test_days_must_be_positive(shop):
    with pytest.raises(ValueError, match="days"):
        launches(shop, days=0)
