"""From a proposal to a published fix and to whether the metric came back."""

from datetime import timedelta

import pytest

from diagnosis.errors import HotfixError
from diagnosis.resolve import ledger
from diagnosis.resolve.actions import parse_action
from diagnosis.resolve.proposing import Proposal, propose, rehearsed, watched
from diagnosis.resolve.recovery import recovery
from diagnosis.resolve.rehearsal import on_terms, rehearse
from diagnosis.store.state import State
from tests.localize import market as m


@pytest.fixture
def state(tmp_path):
    return State(f"sqlite:///{tmp_path / 'state.db'}")


def proposal(text, **values):
    action = parse_action(text, before=m.INCIDENT.since)
    return Proposal((action,), "all", "prices are noise", 4, 1.0, **values)


def put(state, scene, asked):
    watch = watched("ctr", "", m.BASELINE, m.INCIDENT, {"component": "feature", "target": "discount"})
    return propose(state, "stall", asked, rehearsed(scene, asked), watch)


def test_a_proposal_is_rehearsed_kept_and_audited(state, scene):
    made = put(state, scene, proposal("set_feature:discount=last_good?task=browse"))
    assert made.rehearsal["refused"] == ""
    assert made.rehearsal["whole"]["verdict"] == "helped"
    assert made.watch["metric"] == "ctr"
    assert made.watch["cause"] == "feature discount"
    assert ledger.record(state, "stall", made.serial).prepared == made.prepared
    assert state.audited("stall")[0]["act"] == "prepare hotfix"


def test_a_refused_proposal_is_kept_with_its_refusal_and_an_accepted_harm_is_audited(state, scene):
    refused = put(state, scene, proposal("set_feature:discount=0.5"))
    assert refused.rehearsal["refused"] == "It harms gift while it helps browse."
    accepted = put(state, scene, proposal("set_feature:discount=0.5", accept=("gift",)))
    assert accepted.rehearsal["refused"] == ""
    assert state.audited("stall")[0]["detail"]["accepted_harm"] == ["gift"]


def test_what_cannot_be_rehearsed_needs_a_reason_and_the_reason_is_audited(state, scene):
    with pytest.raises(HotfixError, match="cannot be rehearsed"):
        put(state, scene, proposal("retriever_off:unlogged"))
    made = put(state, scene, proposal("retriever_off:unlogged", unrehearsed="it is not in the log yet"))
    assert "No logged candidate" in made.rehearsal["unrehearsed"]
    assert state.audited("stall")[0]["detail"]["unrehearsed"] == "it is not in the log yet"


def published(scene, at, **changes):
    """A record as if its fix had gone out at a time within the log."""
    watch = {"metric": "ctr", "baseline": str(changes.get("baseline", m.BASELINE)), "incident": str(changes.get("incident", m.INCIDENT))}
    from tests.resolve.signing import made

    return ledger.Record(made(now=at, hours=160), ledger.PUBLISHED, watch=watch, published_at=at)


def test_a_metric_that_came_back_is_told_from_one_that_did_not(stall, scene):
    """Backwards in time: the noisy days first and the good ones as those after the fix, and the other way round."""
    bench = stall[0]
    half = m.Window(m.INCIDENT.since, m.INCIDENT.since + timedelta(days=2))
    still = recovery(bench, published(scene, half.until, incident=half))
    assert still.verdict in ("not_yet", "worse")
    assert "has not come back" in still.sentence or "worse" in still.sentence
    early = m.Window(m.START, m.START + timedelta(days=1))
    record = ledger.Record(
        published(scene, early.until).prepared,
        ledger.UNDONE,
        watch={"metric": "ctr", "baseline": str(early), "incident": str(m.INCIDENT)},
        published_at=early.until,
        undone_at=m.BASELINE.until,
    )
    assert recovery(bench, record).verdict == "came_back"


def test_recovery_is_looked_for_where_the_metric_had_gone(stall, scene):
    early = m.Window(m.START, m.START + timedelta(days=1))
    record = published(scene, early.until, baseline=early)
    whole = recovery(stall[0], record)
    record.watch["where"] = "task=gift"
    part = recovery(stall[0], record)
    assert 0 < part.requests < whole.requests
    assert part.before[0] != whole.before[0]


def test_two_proposals_of_one_second_get_different_serials(state, monkeypatch):
    asked = Proposal((parse_action("block_item:i1"),), "all", "i1 is broken", 4, 1.0)
    at = m.INCIDENT.since
    first = propose(state, "stall", asked, {"refused": ""}, {}, now=at)
    looked = iter([0])  # somebody else prepared theirs before the first was written
    real = ledger.latest
    monkeypatch.setattr(ledger, "latest", lambda *given: next(looked, real(*given)))
    second = propose(state, "stall", asked, {"refused": ""}, {}, now=at)
    assert second.serial > first.prepared.undo.serial
    assert len(ledger.records(state, "stall")) == 2


def test_nothing_is_said_before_enough_requests_came(stall, scene):
    late = m.INCIDENT.until - timedelta(minutes=5)
    told = recovery(stall[0], published(scene, late))
    assert told.verdict == "too_few"
    assert "cannot be told yet" in told.sentence
    assert recovery(stall[0], ledger.Record(published(scene, late).prepared)) is None


def test_what_was_not_rehearsed_is_not_prepared(state):
    with pytest.raises(HotfixError, match="not rehearsed"):
        propose(state, "stall", proposal("block_item:i1"), {}, {})


def test_other_terms_change_the_refusal_and_nothing_else(scene):
    made = rehearse(scene, [parse_action("set_feature:discount=0.5")])
    assert made.refused.startswith("It harms gift")
    assert on_terms(made, 1.0, ["gift"]).refused == ""
    assert "its cap is 50.0%" in on_terms(made, 0.5, ["gift"]).refused
