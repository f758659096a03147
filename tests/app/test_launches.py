"""The screens Launches and Item, without a browser; text from the log is text."""

import shutil

import pytest
import streamlit as st

from app import charts_launches, freeze_item, load, load_launches
from diagnosis import cases
from diagnosis.predict import shown
from diagnosis.predict.keeping import records
from tests.app.launching_shop import EVIL, build
from tests.app.shop import SECRET
from tests.app.test_screens import screen, words

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="session")
def _launching(tmp_path_factory):
    return build(tmp_path_factory.mktemp("launching") / "shop")


@pytest.fixture
def launching(_launching, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_SECRET", SECRET)
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(_launching))
    st.cache_resource.clear()
    return _launching


def test_what_goes_wrong_is_told_first_with_its_reason_and_fix(launching):
    said = words(screen("launches", w="shop", item="recalled"))
    assert "6 items launch after the log's end: 3 will be buried." in said
    assert "rule nothing_recalled drops it" in said
    assert "exempt it from rule nothing_recalled" in said
    assert "This part failed" not in said


def test_past_forecasts_are_scored_on_the_screen(launching):
    said = words(screen("launches", w="shop"))
    assert "First day: inside the 90% interval" in said
    assert "This part failed" not in said


def test_a_link_to_an_item_without_forecast_says_so(launching):
    said = words(screen("launches", w="shop", item="i001"))
    assert "No forecast of item 'i001' was kept." in said


def test_an_item_is_held_against_its_kind(launching):
    said = words(screen("item", w="shop", item="i060"))
    assert "items of its age and kind have" in said
    assert "The way to the page, over time" in said
    assert "This part failed" not in said


def test_an_item_that_has_not_launched_shows_its_forecast(launching):
    said = words(screen("item", w="shop", item="blank"))
    assert "The log has no whole day of this item" in said
    assert "because grade is missing" in said
    assert "This part failed" not in said


def test_an_unknown_item_is_not_replaced_by_another(launching):
    said = words(screen("item", w="shop", item="plain"))
    assert "This workspace has no item 'plain'." in said
    assert "Did you mean one of these?" in said
    assert "This part failed" not in said


def test_without_an_item_one_can_search(launching):
    test = screen("item", w="shop")
    assert "This part failed" not in words(test)
    assert test.text_input[0].placeholder == "id, or part of its title"


def test_without_an_item_those_that_launched_last_are_offered(launching):
    calendar = load_launches.calendar(load.bench("shop"))
    latest = shown.launched_last(calendar)
    assert len(latest) == 20
    assert list(latest["launched_at"]) == sorted(latest["launched_at"], reverse=True)
    assert latest["launched_at"].iloc[0] == calendar.launched[calendar.launched <= calendar.last].max()
    assert "Launched last" in words(screen("item", w="shop"))


def test_hostile_titles_are_text_on_both_screens(launching):
    for name in ("launches", "item"):
        test = screen(name, w="shop", item=EVIL)
        assert "This part failed" not in words(test)
        drawn = "".join(str(part.proto.body) for part in test.get("html"))
        assert "&lt;img" in drawn
        assert "<img" not in drawn


def test_a_page_that_an_item_team_is_sent_is_escaped_and_holds_the_charts(launching):
    held = load.bench("shop")
    for item in ("i060", EVIL):
        html = cases.render(freeze_item.item_page(held, load_launches.item_view(held, item)))
        assert "<img src=x" not in html
        assert "<script" not in html
    html = cases.render(freeze_item.item_page(held, load_launches.item_view(held, "i060")))
    assert html.count("data:image/svg+xml") == 3


def test_charts_have_words_for_axes_and_for_those_who_cannot_see(launching):
    held = load.bench("shop")
    rows = shown.calendar_rows(shown.latest(load_launches.forecasts(held)))
    drawn = charts_launches.forecasts(rows, "Six forecasts.").to_dict()
    assert drawn["description"] == "Six forecasts."
    titles = [layer["encoding"]["x"].get("title") for layer in drawn["layer"]]
    assert "share of shown positions in the first week" in titles
    assert rows["name"].is_unique


def test_the_latest_forecast_of_each_item_stands(launching):
    held = load.bench("shop")
    found = shown.latest(records(held.workbench))
    assert len({record.item for record in found}) == len(found)
    assert {record.until for record in found} == {max(record.until for record in records(held.workbench))}


def test_an_item_of_a_workspace_without_items_has_its_title_and_says_what_is_missing(launching, tmp_path, monkeypatch):
    shutil.copytree(launching, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare" / "items")
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(tmp_path / "bare"))
    st.cache_resource.clear()
    said = words(screen("item", w="shop", item="recalled"))
    assert said.startswith("Item recalled This workspace has no items table.")
    assert "This part failed" not in said
