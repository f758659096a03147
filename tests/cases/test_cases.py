"""Cases, evidence, shares and their pages."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from diagnosis.cases import (
    Page,
    Section,
    ShareGone,
    add_entry,
    case_page,
    create_case,
    evidence_of,
    get_case,
    list_cases,
    list_shares,
    moved,
    open_share,
    render,
    request_page,
    revoke,
    set_status,
    share,
)
from diagnosis.cases.pages import case_markdown
from diagnosis.cases.server import shares_app
from diagnosis.errors import NotFoundError
from diagnosis.inputs import check
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from diagnosis.store import state as tables

EVIL = "<script>window.__pwned = 1</script><img src=x onerror=alert(1)>"


@pytest.fixture
def state(replayable):
    return Workspace.open(replayable).state()


def test_a_case_keeps_its_story(state):
    case = create_case(state, "shop", " Prices  look odd ", "w=shop&id=r1", actor="ann")
    add_entry(state, "shop", case.id, "note", "seen on tv", actor="bob")
    add_entry(state, "shop", case.id, "verdict", "price in cents")
    found = set_status(state, "shop", case.id, "closed")
    assert (found.title, found.verdict, found.status, found.actor) == ("Prices look odd", "price in cents", "closed", "ann")
    assert [(e.kind, e.text) for e in found.entries] == [("note", "seen on tv"), ("verdict", "price in cents")]
    assert [c.id for c in list_cases(state, "shop")] == [case.id]
    assert [a["act"] for a in state.audited("shop")][::-1] == ["open case", "add note", "add verdict", "close case"]


def test_a_case_of_another_workspace_is_not_there(state):
    case = create_case(state, "shop", "x")
    with pytest.raises(NotFoundError):
        get_case(state, "other", case.id)
    with pytest.raises(NotFoundError):
        add_entry(state, "other", case.id, "note", "y")


@pytest.mark.parametrize(("title", "kind", "text"), [("", "note", "x"), ("x", "gossip", "x"), ("x", "note", "  ")])
def test_what_says_nothing_is_refused(state, title, kind, text):
    with pytest.raises(ValueError, match=r"title|kind|text"):
        add_entry(state, "shop", create_case(state, "shop", title).id, kind, text)


def test_evidence_says_whether_its_data_moved(replayable):
    workbench = Workbench.open(replayable)
    record = evidence_of(workbench, workbench.request("r1")).as_record()
    assert moved(workbench, record) == "unchanged"
    file = replayable / "rulesets" / "a.toml"
    file.write_text('version = "a"\nsort = "ascending"\n')
    assert moved(Workbench.open(replayable), record) == "moved"
    assert moved(workbench, {**record, "request_id": "gone"}) == "expired"


def test_evidence_does_not_depend_on_how_rows_lie_in_files(replayable):
    from deltalake import DeltaTable

    workbench = Workbench.open(replayable)
    record = evidence_of(workbench, workbench.request("r1")).as_record()
    DeltaTable(str(replayable / "logs" / "candidates")).optimize.compact()
    assert moved(Workbench.open(replayable), record) == "unchanged"


def test_a_share_opens_by_its_token_and_only_its_hash_is_kept(state):
    made = share(state, "shop", "t", "<p>x</p>")
    assert open_share(state, made.token) == "<p>x</p>"
    assert len(made.token) >= 43
    with state.begin() as connection:
        row = connection.execute(tables.shares.select()).mappings().one()
    assert made.token not in str(dict(row))
    assert [s.opened for s in list_shares(state, "shop")] == [1]


def test_a_share_expires_and_can_be_revoked(state):
    old, closed = share(state, "shop", "t", "x", days=1e-6), share(state, "shop", "t", "x")
    time.sleep(0.2)
    revoke(state, "shop", closed.id)
    for token in (old.token, closed.token):
        with pytest.raises(ShareGone):
            open_share(state, token)
    assert {s.id: s.status for s in list_shares(state, "shop")} == {old.id: "expired", closed.id: "revoked"}
    with pytest.raises(NotFoundError):
        revoke(state, "other", closed.id)


def test_a_page_that_was_put_into_the_database_elsewhere_is_not_served(state):
    made = share(state, "shop", "t", "good")
    with state.begin() as connection:
        connection.execute(tables.shares.update().values(html="forged"))
    with pytest.raises(NotFoundError):
        open_share(state, made.token)


def test_a_share_that_was_prolonged_in_the_database_is_not_served(state):
    made = share(state, "shop", "t", "x", days=1)
    with state.begin() as connection:
        connection.execute(tables.shares.update().values(expires_at=datetime.now(UTC) + timedelta(days=300)))
    with pytest.raises(NotFoundError):
        open_share(state, made.token)


def test_http_answers_200_404_and_410_with_a_strict_policy(replayable, state):
    client = TestClient(shares_app([replayable]))
    live, gone = share(state, "shop", "t", "<p>frozen</p>"), share(state, "shop", "t", "x")
    revoke(state, "shop", gone.id)
    answers = [client.get(f"/s/{token}") for token in (live.token, gone.token, "nonsense")]
    assert [a.status_code for a in answers] == [200, 410, 404]
    assert answers[0].text == "<p>frozen</p>"
    for answer in answers:
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
    assert [client.get(path).status_code for path in ("/", "/overview", "/_stcore/health", "/s/")] == [404] * 4
    assert client.post(f"/s/{live.token}").status_code == 404


def test_a_look_by_head_does_not_count(replayable, state):
    made = share(state, "shop", "t", "x")
    TestClient(shares_app([replayable])).head(f"/s/{made.token}")
    assert [s.opened for s in list_shares(state, "shop")] == [0]


def page_of(replayable):
    workbench = Workbench.open(replayable)
    workbench.admit()
    request = workbench.request("r1")
    return request_page(request, workbench.replay(request), check(workbench, request), evidence_of(workbench, request), workspace="Shop")


def test_a_page_says_that_the_time_was_not_logged(replayable):
    workbench = Workbench.open(replayable)
    request = workbench.request("r1")
    request = replace(request, row={**request.row, "served_at": None})
    page = request_page(request, workbench.replay(request), check(workbench, request), evidence_of(workbench, request), workspace="Shop")
    assert ("served at", "not logged") in page.facts


def test_a_page_hides_members_unless_asked(replayable):
    page = page_of(replayable)
    assert "secret-member" not in render(page)
    assert "secret-member" in render(page, with_members=True)


def test_a_member_key_is_hidden_wherever_it_stands():
    import pandas as pd

    chart = {"data": {"values": [{"member": "m1", "x": "of m1"}]}, "mark": "point", "encoding": {"y": {"field": "x"}}}
    page = Page(
        "m1",
        "by m1",
        "good",
        (Section("m1", "m1", pd.DataFrame({"v": ["m1 and"], "member": ["m1"]}), chart, "m1"),),
        (("member", "m1"), ("where", "member=m1")),
        ("m1",),
    )
    html = render(page)
    import base64
    import re

    svg = base64.b64decode(re.search(r"base64,([^\"]+)", html).group(1)).decode()
    assert "m1" not in html.replace("base64", "")[:200_000].split("data:image")[0] + html.split('">')[-1]
    assert "m1" not in svg


def test_markup_from_the_log_stays_text(replayable):
    page = page_of(replayable)
    hostile = Page(EVIL, EVIL, "bad", (Section(EVIL, EVIL),), ((EVIL, EVIL),))
    for html in (render(hostile), render(page)):
        assert "<script" not in html
        assert "<img src=x" not in html


def test_a_chart_stands_inside_as_a_picture():
    chart = {
        "data": {"values": [{"x": EVIL, "y": 1}]},
        "mark": "bar",
        "encoding": {"x": {"field": "x"}, "y": {"field": "y", "type": "quantitative"}},
    }
    html = render(Page("t", "s", "good", (Section("h", chart=chart, alt='"quoted" <b>'),), ()))
    assert 'src="data:image/svg+xml;base64,' in html
    assert "&lt;b&gt;" in html
    assert "http" not in html.split("base64,")[0]


def test_reports_quote_what_people_wrote(state):
    case = create_case(state, "shop", f"# {EVIL}")
    case = add_entry(state, "shop", case.id, "note", "[click](javascript:alert(1))")
    assert "<script" not in render(case_page(case, workspace="shop"))
    markdown = case_markdown(case, workspace="shop")
    assert "<script" not in markdown
    assert "[click](" not in markdown
