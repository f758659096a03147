"""Screens, without a browser."""

import html
import re
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import app
from diagnosis.cases import add_entry, create_case, list_cases, list_shares
from diagnosis.store import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def screen(module, **query):
    """A screen run once with that query, with what stands around it."""

    def script(name):
        import importlib

        import streamlit as st

        from app import state, views
        from app.screens import around

        names = (
            "overview",
            "coverage",
            "find",
            "request",
            "incident",
            "model",
            "fix",
            "cases",
            "case",
            "incidents",
            "member",
            "objectives",
            "item",
            "launches",
        )
        state.PAGES.update({page: st.Page(lambda: None, title=page, url_path=page) for page in names})
        st.navigation(list(state.PAGES.values()), position="hidden")
        with views.guarded():
            if around.ready():
                importlib.import_module(f"app.screens.{name}").show()

    test = AppTest.from_function(script, kwargs={"name": module}, default_timeout=30)
    for key, value in query.items():
        test.query_params[key] = value
    return test.run()


def labelled(widgets, label):
    """The widget of that label."""
    (found,) = [widget for widget in widgets if widget.label == label]
    return found


def words(test):
    """All text on the screen; nothing on it may be an exception or unescaped markup from a log."""
    assert not test.exception, test.exception
    text = " ".join(str(part.proto.body) for part in test.get("html"))
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_the_overview_says_what_the_workspace_holds(shop):
    said = words(screen("overview", w="shop"))
    assert "requests logged 3" in said
    assert "requests in the full traffic, estimated 8" in said
    assert "Made up" in said
    assert "Problem" not in said


def test_the_overview_splits_traffic_by_what_the_link_says(shop):
    assert "There is no request attribute 'colour'" in words(screen("overview", w="shop", by="colour"))
    test = screen("overview", w="shop", by="status")
    assert test.selectbox(key="split").value == "status"


def test_a_model_that_changed_is_an_alarm_on_the_overview(shop):
    (shop / "models" / "ranker" / "2" / "model.txt").write_text("tree\n")
    assert "Model ranker 2 changed after it was admitted" in words(screen("overview", w="shop"))


def test_a_model_that_nobody_admitted_is_an_alarm_and_says_what_to_do(shop, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_SECRET", "another machine")
    assert "Model ranker 1 is not admitted on this machine. Look at where it comes from" in words(screen("overview", w="shop"))


def test_an_empty_workspace_is_an_answer(tmp_path, monkeypatch):
    Workspace.create(tmp_path / "empty", id="empty")
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(tmp_path / "empty"))
    assert "No request is logged here yet" in words(screen("overview", w="empty"))
    assert "No request is logged here yet" in words(screen("find", w="empty"))


def test_no_workspace_at_all_says_how_to_start():
    assert "diagnosis demo" in words(screen("overview"))


def test_a_workspace_that_cannot_be_read_is_told_and_the_others_open(shop, tmp_path, monkeypatch):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "diagnosis.toml").write_text("id = ")
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", f"{tmp_path / 'broken'}:{shop}")
    said = words(screen("overview", w="shop"))
    assert "diagnosis.toml: (whole file): is not TOML" in said
    assert "requests logged 3" in said


def test_of_several_workspaces_none_is_opened_unasked(shop, tmp_path, monkeypatch):
    Workspace.create(tmp_path / "other", id="other", name="Another one")
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", f"{shop}:{tmp_path / 'other'}")
    said = words(screen("overview"))
    assert "Which workspace?" in said
    assert "Another one" in said
    assert "requests logged" not in said


def test_a_session_goes_on_in_the_workspace_that_it_was_in(shop, tmp_path, monkeypatch):
    Workspace.create(tmp_path / "other", id="other")
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", f"{shop}:{tmp_path / 'other'}")
    test = screen("overview", w="shop")
    test.query_params.clear()
    assert "requests logged 3" in words(test.run())
    assert test.query_params["w"] == "shop"


@pytest.mark.parametrize("tab", ["replay", "inputs", "model", "page", "circumstances", "what-if"])
@pytest.mark.parametrize(
    ("request_id", "known"), [("r1", "Reproduced exactly"), ("r2", "a fallback made the page"), ("r3", "input checks failed")]
)
def test_every_tab_of_a_request_is_drawn(shop, tab, request_id, known):
    said = words(screen("request", w="shop", request=request_id, tab=tab, item="a", above="b"))
    assert known in said
    assert "This part failed" not in said


def test_a_request_with_wrong_inputs_opens_on_its_inputs(shop):
    said = words(screen("request", w="shop", request="r3"))
    assert "price owned by pricing, from price_daily" in said
    assert "price is 100 EUR on 1 of 3 candidates, expected -5 to 5" in said


def test_a_wrong_date_in_a_link_costs_time_and_not_the_request(shop):
    assert "Reproduced exactly" in words(screen("request", w="shop", request="r1", date="2020-01-01"))


def test_what_if_reopens_from_its_link(shop):
    said = words(screen("request", w="shop", request="r1", tab="what-if", set="*:price=-9"))
    assert "What if *:price=-9: " in said
    assert "price = -9 on all candidates" in said


def test_setting_a_value_puts_the_edit_into_the_link(shop):
    test = screen("request", w="shop", request="r1", tab="what-if")
    test.selectbox(key="if-item-r1").set_value("b").run()
    labelled(test.text_input, "Value").set_value("9")
    labelled(test.button, "Set").click().run()
    assert test.query_params["set"] == "b:price=9"


def test_a_value_that_does_not_fit_is_told(shop):
    said = words(screen("request", w="shop", request="r1", tab="what-if", set="*:price=cheap"))
    assert "'cheap' does not fit" in said


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"w": "nowhere", "request": "r1"}, "this workbench does not serve it"),
        ({"w": "shop", "request": "r9"}, "This workspace has no request 'r9'"),
        ({"w": "shop", "request": "r1", "tab": "magic"}, "There is no tab 'magic'"),
        ({"w": "shop", "id": "r1"}, "This link says 'id', which is not understood here"),
        ({"w": "shop", "request": "r1", "tab": "model", "item": "zz"}, "'zz' is no candidate of this request"),
        ({"w": "shop", "request": "r1", "tab": "what-if", "set": "nonsense"}, "item:feature=value"),
        ({"w": "shop", "request": "r1", "tab": "what-if", "set": "*:weight=1"}, "There is no feature 'weight'"),
        ({"w": "shop", "request": "r1", "tab": "what-if", "with_model": "ranker/77"}, "There is no model version '77'"),
        ({"w": "shop", "request": "r1", "tab": "what-if", "with_ruleset": "z"}, "There is no ruleset 'z'"),
        ({"w": "shop", "request": "r1", "tab": "page", "item": "zz"}, "zz was not retrieved"),
        ({"w": "shop"}, "Pick a request first"),
    ],
)
def test_a_link_to_what_is_not_there_says_so(shop, query, said):
    assert said in words(screen("request", **query))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"where": "statsu=ok"}, "There is no attribute 'statsu'"),
        ({"where": "latency_ms>=slow"}, "'slow' does not fit"),
        ({"where": "="}, "Cannot read the filter"),
        ({"since": "yesterday"}, "'yesterday' is no time"),
        ({"member": "nobody"}, "No logged request matches"),
        ({"task": "hompage"}, "No logged request has task 'hompage'. There are homepage"),
        ({"page": "9"}, "There is no page 9: 3 requests match"),
    ],
)
def test_a_search_that_finds_nothing_says_why(shop, query, said):
    assert said in words(screen("find", w="shop", **query))


def test_a_search_counts_the_log_and_the_traffic_it_stands_for(shop):
    test = screen("find", w="shop", where="device=phone")
    assert "2 logged requests, which stand for about 4 in the full traffic" in words(test)
    assert test.dataframe[0].value["request_id"].tolist() == ["r3", "r2"]


def test_a_filter_typed_wrongly_is_told_and_the_link_stays(shop):
    test = screen("find", w="shop")
    test.text_input(key="find-where").set_value("device").run()
    assert "Cannot read the filter 'device'" in words(test)
    assert "where" not in test.query_params


def test_a_case_shows_its_story_and_whether_its_evidence_stands(shop):
    from diagnosis.cases import evidence_of
    from diagnosis.reproduce import Workbench

    bench = Workbench.open(shop)
    case = create_case(bench.state, "shop", "Prices look odd")
    digests = evidence_of(bench, bench.request("r1")).as_record()
    add_entry(bench.state, "shop", case.id, "evidence", "r1 replays", payload={"url": "/request?w=shop&request=r1"}, digests=digests)
    add_entry(bench.state, "shop", case.id, "evidence", "gone", digests={**digests, "request_id": "r0"})
    add_entry(bench.state, "shop", case.id, "verdict", "price in cents")
    said = words(screen("case", w="shop", case=case.id))
    assert "price in cents" in said
    assert "evidence unchanged: the data, model and rules behind it are as they were r1 replays" in said
    assert "evidence expired: the request behind it is no longer in the log gone" in said
    (shop / "rulesets" / "a.toml").write_text('version = "a"\n[[rule]]\nname = "x"\nkind = "cap"\nby = "colour"\nat_most = 1\n')
    st.cache_resource.clear()
    assert "evidence moved" in words(screen("case", w="shop", case=case.id))


def test_a_case_that_is_not_there_is_told(shop):
    assert "This workspace has no case 'zz'" in words(screen("case", w="shop", case="zz"))
    assert "Pick a case first" in words(screen("case", w="shop"))


def test_a_case_begun_on_its_screen_is_kept(shop):
    test = screen("cases", w="shop")
    assert "No case yet" in words(test)
    labelled(test.text_input, "New case").set_value("Prices look odd")
    labelled(test.button, "Begin").click().run()
    (case,) = list_cases(Workspace.open(shop).state(), "shop")
    assert case.title == "Prices look odd"


def test_a_case_without_a_title_is_refused(shop):
    test = screen("cases", w="shop")
    labelled(test.button, "Begin").click().run()
    assert "A case needs a title" in words(test)


def test_sharing_freezes_the_view_and_revoking_closes_it(shop):
    test = screen("request", w="shop", request="r1", tab="what-if", set="*:price=-9")
    test.button(key="make-request").click().run()
    state = Workspace.open(shop).state()
    (share,) = list_shares(state, "shop")
    assert share.status == "active"
    assert test.code[0].value.rpartition("/s/")[2]
    test.button(key="undo-request-shop-r1").click().run()
    assert list_shares(state, "shop")[0].status == "revoked"


def test_a_view_added_to_a_case_keeps_its_link_and_digests(shop):
    test = screen("request", w="shop", request="r1", tab="what-if", set="*:price=-9")
    test.text_input(key="case-title").set_value("Prices look odd").run()
    labelled(test.button, "Add this view as evidence").click().run()
    from diagnosis.cases import get_case

    state = Workspace.open(shop).state()
    case = get_case(state, "shop", list_cases(state, "shop")[0].id)
    (entry,) = case.entries
    assert entry.payload == {"url": "/request?w=shop&request=r1&tab=what-if&set=%2A%3Aprice%3D-9"}
    assert entry.digests["request_id"] == "r1"
    assert "What if *:price=-9" in entry.text


def test_an_error_that_nobody_foresaw_shows_a_number_and_not_its_text(shop, monkeypatch, caplog):
    from diagnosis.reproduce import holdings

    def broken(workbench):
        raise RuntimeError("secret-member in the text")

    monkeypatch.setattr("app.load.holdings_of", broken)
    said = words(screen("overview", w="shop"))
    assert holdings.holdings is not broken
    assert re.search(r"This part failed; error [0-9a-f]{6}", said)
    assert "secret-member" not in said
    assert "secret-member" in caplog.text


def test_the_bare_address_leads_to_the_overview(shop):
    test = AppTest.from_file(Path(app.__file__).with_name("main.py"), default_timeout=30).run()
    assert "requests logged 3" in words(test)


def test_screens_know_no_sql():
    for file in Path(app.__file__).parent.glob("screens/*.py"):
        text = file.read_text(encoding="utf-8")
        assert "duckdb" not in text, file
        assert "query_params" not in text, file
        assert "cache_" not in text, file
        assert not re.search(r"st\.(markdown|write|error|info|success|warning|caption|image|toast|metric)\(", text), file


def test_coverage_names_the_slices_that_the_sample_cannot_tell(shop):
    test = screen("coverage", w="shop")
    said = words(test)
    assert "blind: a day does not show 25%" in said
    rows = test.dataframe[0].value
    assert set(rows["blind"]) == {"blind"}
    assert "task=homepage" in set(rows["slice"])
    assert rows.set_index("slice").loc["task=homepage", "kept"] == 2
    assert rows.set_index("slice").loc["task=homepage", "estimated"] == 6.0
    assert labelled(test.selectbox, "attributes").value == "status,device"


def test_coverage_is_asked_of_a_window_and_a_change(troubled):
    asked = {"w": "shop", "metric": "score_mean", "change": "0.5"}
    test = screen("coverage", **asked, since="2026-11-08T00:00")
    assert "a day does not show 50%" in words(test)
    every = screen("coverage", **asked).dataframe[0].value["kept"].sum()
    assert 0 < test.dataframe[0].value["kept"].sum() < every / 3
    test.text_input(key="coverage-since").set_value("yesterday").run()
    assert "'yesterday' is no time" in words(test)
    assert test.query_params["since"] == "2026-11-08T00:00"
    with_filter = screen("coverage", w="shop", where="planet=mars")
    assert "planet" in words(with_filter)
    assert "This part failed" not in words(with_filter)


def test_coverage_of_what_a_link_misspells_is_told(shop):
    assert "There is no pair of attributes 'task,colour'" in words(screen("coverage", w="shop", by="task,colour"))
    assert "There is no metric 'crt'" in words(screen("coverage", w="shop", metric="crt"))
