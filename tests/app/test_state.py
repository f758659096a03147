"""The URL is the state."""

from hypothesis import given
from hypothesis import strategies as st

from app.state import View

texts = st.text(max_size=12)
views = st.builds(
    View,
    workspace=texts,
    request=texts,
    on=texts,
    tab=texts,
    item=texts,
    above=texts,
    edits=st.lists(st.text(min_size=1, max_size=12), max_size=3).map(tuple),
    model_version=texts,
    ruleset=texts,
    where=texts,
    case=texts,
)


@given(views)
def test_a_view_written_to_a_url_and_read_again_is_the_same(view):
    assert View.from_query(view.to_query()) == view


def test_what_is_not_said_is_left_out():
    assert View(workspace="a", request="r").to_query() == {"w": ["a"], "id": ["r"]}


def test_a_date_that_was_cut_off_is_no_date():
    assert View(on="2026-11-0").date is None
    assert str(View(on="2026-11-01").date) == "2026-11-01"
