"""Views frozen as pages."""

import html
import re

import pytest

from app import freeze, load
from app.state import View
from diagnosis import cases
from diagnosis.reproduce import Edit


def frozen(folder, view):
    """The page of a view, and its text."""
    held = load.bench(view.workspace)
    page = freeze.request_page(view, held, load.diagnosis(held, view.request, None))
    document = cases.render(page)
    return page, " ".join(html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"data:image[^\"]+", "", document))).split()), document


def test_a_frozen_request_holds_what_was_on_the_screen(shop):
    page, text, document = frozen(shop, View(workspace="shop", request="r1", item="a", above="b", edits=(Edit(None, "price", "-9"),)))
    headings = [section.heading for section in page.sections]
    assert headings == [
        "Inputs",
        "Replay",
        "What if",
        "Which features made the score",
        "a against b",
        "The way of a, in the what-if",
        "The page as it was shown",
        "Circumstances",
    ]
    assert "Reproduced exactly" in text
    assert "What if *:price=-9" in text
    assert document.count("data:image/svg+xml;base64,") == 4


def test_a_frozen_page_has_no_script_and_no_member_key(shop):
    _, _, document = frozen(shop, View(workspace="shop", request="r1"))
    assert "<script" not in document
    assert "secret-member" not in document


def test_a_request_that_no_model_made_is_frozen_with_what_can_be_said(shop):
    page, text, _ = frozen(shop, View(workspace="shop", request="r2"))
    assert page.tone == "unknown"
    assert "a fallback made the page" in text


def test_a_frozen_case_names_no_member_of_its_requests(shop):
    held = load.bench("shop")
    state = held.workbench.state
    case = cases.create_case(state, "shop", "About secret-member")
    digests = load.evidence(held, held.workbench.request("r1")).as_record()
    case = cases.add_entry(state, "shop", case.id, "evidence", "secret-member saw it", digests=digests)
    document = cases.render(freeze.case_page(case, held, load.moved(held, case)))
    assert "secret-member" not in document
    assert "unchanged" in document


@pytest.mark.parametrize("request_id", ["r1", "r2", "r3"])
def test_the_same_view_freezes_to_the_same_page(shop, request_id):
    view = View(workspace="shop", request=request_id)
    held = load.bench("shop")
    found = load.diagnosis(held, request_id, None)
    at = found.request.row["served_at"]
    first, second = (cases.render(freeze.request_page(view, held, found), frozen_at=at) for _ in range(2))
    assert first == second
