"""Forecasts are kept, and held against what came."""

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.predict import keep, launches, records, score
from tests.predict.shop import go_on, open_shop

CUT = 8.0


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A shop whose forecasts were made on day eight, and that then went on to the end."""
    bench = open_shop(tmp_path_factory.mktemp("kept") / "shop", until=CUT)
    answer = launches(bench, days=14, requests=300)
    assert keep(bench, answer) == len(answer.forecasts)
    assert keep(bench, answer) == 0
    before = score(bench)
    return answer, before, go_on(bench, CUT)


def test_before_the_day_nothing_is_scored(told):
    answer, before, _ = told
    assert before.open == len(answer.forecasts)
    assert before.rows.empty
    assert before.precision == (0, 0)
    assert np.isnan(before.coverage("first_week")[0])


def test_what_came_is_set_beside_the_forecast(told):
    answer, _, bench = told
    card = score(bench)
    day = card.rows[card.rows["horizon"] == "first_day"]
    assert set(day["item"]) == {f.item for f in answer.forecasts if f.item.startswith("i")}
    assert card.open == len(answer.forecasts) - len(day)
    first = day.set_index("item")
    for found in answer.forecasts:
        if found.item in first.index:
            assert first.loc[found.item, "value"] == pytest.approx(found.horizons["first_day"].all.exposure.value)
            assert 0 < first.loc[found.item, "days_ahead"] < 6
    assert day["inside"].mean() >= 0.7


def test_a_week_is_scored_when_it_is_over(told):
    answer, _, bench = told
    week = score(bench).rows.query("horizon == 'first_week'")
    over = [f.item for f in answer.forecasts if (bench.snapshot.window()[1] - f.launched_at).total_seconds() >= 7 * 86400]
    assert set(week["item"]) == set(over)


def test_scoring_twice_says_the_same(told):
    _, _, bench = told
    assert score(bench).rows.equals(score(bench).rows)


def test_a_launch_that_was_put_off_is_not_scored(tmp_path):
    bench = open_shop(tmp_path / "shop", until=CUT)
    answer = launches(bench, days=3, requests=200)
    keep(bench, answer)
    item, other = (f.item for f in answer.forecasts[:2])
    table = bench.snapshot.table("items")
    table.loc[table["item_id"] == item, "launched_at"] += np.timedelta64(12, "h")
    bench.workspace.replace("items", pa.Table.from_pandas(table, preserve_index=False))
    card = score(go_on(bench, CUT))
    assert item not in set(card.rows["item"])
    assert other in set(card.rows["item"])
    assert card.open >= 1


def test_an_item_that_was_never_forecast_has_no_record(told):
    assert records(told[2], "i000") == []
