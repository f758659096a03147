"""The URL is the state."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.state import DRAGS, PARTS, TABS, LinkError, View, moment, url
from diagnosis.localize import Window
from diagnosis.reproduce import Edit

texts = st.text(max_size=12)
named = st.text(min_size=1, max_size=12)
times = st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
windows = st.none() | st.tuples(
    st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)),
    st.timedeltas(timedelta(microseconds=1), timedelta(900)),
).map(lambda pair: Window(pair[0], pair[0] + pair[1]))
edits = st.lists(
    st.builds(Edit, item=st.none() | named, feature=named, value=st.none() | st.text(alphabet="ab1.;=&%#+ ü", min_size=1)), max_size=3
)
views = st.builds(
    View,
    **dict.fromkeys(("workspace", "by", "request", "item", "above", "with_model", "with_ruleset", "case"), texts),
    **dict.fromkeys(("member", "task", "status", "model_version", "where", "metric"), texts),
    date=st.none() | st.dates(),
    tab=st.sampled_from(("", *TABS)),
    k=st.none() | st.integers(1, 10**6),
    edits=edits.map(tuple),
    since=times,
    until=times,
    page=st.integers(1, 10**6),
    baseline=windows,
    incident=windows,
    drag=st.sampled_from(("", *DRAGS)),
    asked=st.booleans(),
    **dict.fromkeys(("model", "version", "against"), texts),
    part=st.sampled_from(("", *PARTS)),
)


@given(views)
def test_a_view_written_to_a_query_and_read_again_is_the_same(view):
    assert View.from_query(view.to_query()) == view


@given(views)
def test_a_view_written_to_an_address_and_read_again_is_the_same(view):
    assert View.from_url(url("request", view)) == view


def test_what_is_not_said_is_left_out():
    view = View(workspace="a", request="r", date=date(2026, 11, 1), edits=(Edit(None, "price", "2"),))
    assert view.to_query() == {"w": ["a"], "request": ["r"], "date": ["2026-11-01"], "set": ["*:price=2"]}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"taks": ["x"]}, "did you mean task"),
        ({"task": ["a", "b"]}, "'task' 2 times"),
        ({"date": ["2026-11-0"]}, "date=2026-11-0, which cannot be read"),
        ({"since": ["yesterday"]}, "'yesterday' is no time"),
        ({"page": ["0"]}, "a number from 1"),
        ({"page": ["１"]}, "a number from 1"),
        ({"k": ["many"]}, "a number from 1"),
        ({"tab": ["magic"]}, "There is no tab 'magic'"),
        ({"incident": ["yesterday"]}, "'yesterday' is no window; write SINCE..UNTIL"),
        ({"baseline": ["2026-11-02..2026-11-01"]}, "is empty or runs backwards"),
        ({"drag": ["magic"]}, "Dragging cannot set 'magic'"),
        ({"part": ["magic"]}, "A model has no part 'magic'"),
        ({"asked": ["yes"]}, "it can only be 1"),
        ({"set": ["nonsense"]}, "item:feature=value"),
    ],
)
def test_a_link_that_cannot_be_read_says_which_part(query, said):
    with pytest.raises(LinkError) as refused:
        View.from_query(query)
    assert said in str(refused.value)


def test_an_empty_value_is_not_said():
    assert View.from_query({"task": [""], "w": ["a"]}) == View(workspace="a")


def test_an_address_from_elsewhere_is_no_view():
    assert View.from_url("https://elsewhere/request?w=a") is None
    assert View.from_url("/request?w=a&tab=magic") is None


def test_a_time_without_zone_is_utc():
    assert moment("2026-11-01T12:30") == datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
    assert moment("2026-11-01T12:30+02:00") == datetime(2026, 11, 1, 10, 30, tzinfo=UTC)
