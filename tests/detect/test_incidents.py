"""Incidents are kept and come back."""

import pytest

from diagnosis.detect.incidents import DISMISSED, OPEN, OVER, decide, incident, incidents, keep, keep_seen
from diagnosis.errors import NotFoundError
from diagnosis.localize.windows import Window
from tests.detect.told import at, made


def test_an_incident_comes_back_as_it_was_kept_unknown_numbers_included(state):
    whole = made(series=("ctr|device=tv",), cause={"component": "feature"}, z=-6.5, upstreams=("warehouse",))
    assert keep(state, "shop", whole)
    back = incident(state, "shop", "ctr-1")
    assert back.as_json() == whole.as_json()
    assert back.z == -6.5
    assert back.value != back.value
    assert back.as_json()["value"] is None
    assert back.window == Window(at(3), at(5))


def test_an_incident_found_again_is_not_new_and_keeps_one_row(state):
    keep(state, "shop", made())
    assert not keep(state, "shop", made(status="over", seen_at=at(9)))
    assert [i.seen_at for i in incidents(state, "shop")] == [at(9)]
    assert incidents(state, "shop", status="open") == []


def test_an_unknown_incident_is_an_error_that_names_those_there_are(state):
    keep(state, "shop", made())
    with pytest.raises(NotFoundError, match="ctr-2"):
        incident(state, "shop", "ctr-2")
    with pytest.raises(NotFoundError):
        incident(state, "other", "ctr-1")


def test_what_somebody_decided_while_a_run_was_at_work_stays(state):
    keep(state, "shop", made())
    decide(state, "shop", "ctr-1", DISMISSED)
    keep_seen(state, "shop", made(seen_at=at(9)))
    found = incident(state, "shop", "ctr-1")
    assert (found.status, found.accepted, found.seen_at) == (DISMISSED, True, at(9))
    decide(state, "shop", "ctr-1", OPEN)
    keep_seen(state, "shop", found)
    assert (incident(state, "shop", "ctr-1").status, incident(state, "shop", "ctr-1").accepted) == (OPEN, False)
    keep_seen(state, "shop", made(status=OVER))
    assert incident(state, "shop", "ctr-1").status == OVER


def test_only_what_is_dismissed_while_it_lasts_is_the_new_normal(state):
    keep(state, "shop", made(status=OVER))
    assert not decide(state, "shop", "ctr-1", DISMISSED).accepted
    assert not decide(state, "shop", "ctr-1", OPEN).accepted
    assert decide(state, "shop", "ctr-1", DISMISSED).accepted
    assert decide(state, "shop", "ctr-1", DISMISSED).accepted


def test_an_incident_of_no_known_kind_is_refused():
    with pytest.raises(ValueError, match="kind"):
        made(kind="hunch")
