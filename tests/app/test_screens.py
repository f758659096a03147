"""Screens without a browser."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import app
from app import load
from diagnosis.cases import add_entry, create_case
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def shop(replayable, monkeypatch):
    import streamlit as st

    Workbench.open(replayable).admit()
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(replayable))
    st.cache_data.clear()
    st.cache_resource.clear()
    assert load.workspaces() == {"shop": "Shop"}
    return replayable


def screen(module, **query):
    """A screen run once with that query."""

    def script(name):
        import importlib

        import streamlit as st

        from app import state

        state.PAGES.update(
            {page: st.Page(lambda: None, title=page, url_path=page) for page in ("overview", "find", "request", "cases", "case")}
        )
        st.navigation(list(state.PAGES.values()), position="hidden")
        importlib.import_module(f"app.screens.{name}").show()

    test = AppTest.from_function(script, kwargs={"name": module}, default_timeout=30)
    for key, value in query.items():
        test.query_params[key] = value
    return test.run()


def words(test):
    """All text on the screen."""
    parts = [*test.title, *test.error, *test.success, *test.warning, *test.info, *test.caption, *test.text, *test.markdown, *test.subheader]
    return " ".join(str(part.value) for part in parts)


def test_the_overview_says_what_there_is(shop):
    test = screen("overview", w="shop")
    assert not test.exception
    assert [m.value for m in test.metric][:2] == ["2", "6"]


def test_an_empty_workspace_is_an_answer(tmp_path, monkeypatch):
    Workspace.create(tmp_path / "empty", id="empty")
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(tmp_path / "empty"))
    test = screen("overview", w="empty")
    assert not test.exception
    assert "holds no requests yet" in words(test)


def test_no_workspace_at_all_says_how_to_start():
    assert "diagnosis demo" in words(screen("overview"))


@pytest.mark.parametrize("tab", ["replay", "inputs", "model", "page", "circumstances", "what-if"])
@pytest.mark.parametrize("request_id", ["r1", "r2"])
def test_every_part_of_a_request_is_drawn(shop, tab, request_id):
    test = screen("request", w="shop", id=request_id, tab=tab)
    assert not test.exception
    expected = "Reproduced exactly" if request_id == "r1" else "a fallback made the page"
    assert expected in words(test).replace("\\", "")


def test_what_if_reopens_from_its_link(shop):
    test = screen("request", w="shop", id="r1", tab="what-if", set="*:price=-9")
    assert not test.exception
    assert "would change their place" in words(test).replace("\\", "")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"w": "nowhere", "id": "r1"}, "not served here"),
        ({"w": "shop", "id": "r9"}, "has no request r9"),
        ({"w": "shop", "id": "r1", "tab": "magic"}, "does not exist: magic"),
        ({"w": "shop", "id": "r1", "tab": "model", "item": "zz"}, "no candidate of this request"),
        ({"w": "shop", "id": "r1", "tab": "what-if", "set": "nonsense"}, "item:feature=value"),
        ({"w": "shop", "id": "r1", "tab": "what-if", "version": "77"}, "not in this workspace"),
        ({"w": "shop"}, "Pick a request first"),
    ],
)
def test_a_link_to_what_is_not_there_says_so_and_shows_nothing_else(shop, query, said):
    test = screen("request", **query)
    assert not test.exception
    assert said in words(test).replace("\\", "")


def test_a_filter_that_cannot_be_read_is_told(shop):
    assert "There is no attribute" in words(screen("find", w="shop", where="statsu=ok"))
    assert "is no time" in words(screen("find", w="shop", since="yesterday")).replace("\\", "")
    assert "No logged request matches" in words(screen("find", w="shop", member="nobody"))


def test_a_case_shows_its_story(shop):
    state = Workspace.open(shop).state()
    case = create_case(state, "shop", "Prices look odd")
    add_entry(state, "shop", case.id, "verdict", "price in cents")
    test = screen("case", w="shop", case=case.id)
    assert not test.exception
    assert "price in cents" in words(test)
    assert not screen("cases", w="shop").exception
    assert "There is no case" in words(screen("case", w="shop", case="zz"))


def test_pages_know_no_pandas_arithmetic_and_no_sql():
    for file in Path(app.__file__).parent.glob("screens/*.py"):
        assert "duckdb" not in file.read_text(encoding="utf-8"), file
