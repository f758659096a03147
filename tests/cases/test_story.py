"""The story of a case: hypotheses, timeline, similar cases, the three questions, checks."""

import re
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from diagnosis.cases import (
    Watch,
    add_entry,
    add_localization,
    add_watch,
    create_case,
    decide,
    get_case,
    hypotheses,
    postmortem,
    postmortem_markdown,
    postmortem_page,
    remove_watch,
    render,
    similar,
    story,
    watches,
)
from diagnosis.detect.incidents import Incident, keep
from diagnosis.errors import DiagnosisError
from diagnosis.localize.result import Cause, Localization, Measured, RuledOut
from diagnosis.localize.suspects import Evidence
from diagnosis.localize.windows import Window
from diagnosis.reproduce import Workbench
from diagnosis.resolve import ledger
from diagnosis.store import Workspace, documents
from diagnosis.store.state import watches as TABLE
from diagnosis.store.state import whoami
from tests.conftest import AT
from tests.resolve.signing import made

EVIL = "<script>window.__pwned = 1</script>|[x](javascript:a)"
ONSET = AT - timedelta(hours=6)


def cause(component="feature", target="price", where=None, kind="stale"):
    return Cause(
        component,
        target,
        {"device": ["tv"]} if where is None else where,
        ONSET,
        0.9,
        0.8,
        1.0,
        -0.01,
        "replay",
        0.95,
        evidence=(Evidence(kind, f"{target} is {kind}"),),
        change={"kind": "feature", "target": "prices", "changed_at": "2026-11-01T05:00:00Z"},
    )


def answer(*causes):
    window = Measured(Window(ONSET, AT), 0.1, 0.09, 0.11, 100)
    return Localization(
        "ctr", "share", "up", "", window, window, "cause_found", "price did it", causes, ruled_out=(RuledOut("model", "same version"),)
    )


@pytest.fixture
def bench(replayable):
    changes = {"changed_at": pd.to_datetime([ONSET - timedelta(hours=1)]), "kind": ["feature"], "target": ["prices"], "note": ["new job"]}
    import pyarrow as pa

    table = pa.table(
        {
            **{k: pa.array(v) for k, v in changes.items() if k != "changed_at"},
            "changed_at": pa.array([ONSET - timedelta(hours=1)], pa.timestamp("us", "UTC")),
        }
    )
    Workspace.open(replayable).replace("changes", table)
    return Workbench.open(replayable)


def opened(bench, title="Clicks fell", *causes):
    state = bench.state
    case = create_case(state, "shop", title)
    asked = {
        "question": {
            "metric": "ctr",
            "baseline": "2026-10-25..2026-11-01T06:00Z",
            "incident": f"{ONSET:%Y-%m-%dT%H:%MZ}..{AT:%Y-%m-%dT%H:%MZ}",
        }
    }
    add_entry(state, "shop", case.id, "evidence", "ctr moved", digests=asked)
    add_localization(state, "shop", case.id, answer(*(causes or (cause(),))))
    return get_case(state, "shop", case.id)


def test_causes_and_what_was_ruled_out_become_hypotheses_in_one_step(bench):
    accepted, rejected = hypotheses(opened(bench))
    assert (accepted.state, accepted.name, accepted.kinds) == ("accepted", "feature price for device tv", frozenset({"stale"}))
    assert (rejected.state, rejected.name, rejected.why) == ("rejected", "model", "same version")


def test_the_last_word_on_a_hypothesis_counts_and_needs_a_reason(bench):
    case = opened(bench)
    first = hypotheses(case)[0]
    with pytest.raises(ValueError, match="needs a text"):
        decide(bench.state, "shop", case.id, first, False, " ")
    case = decide(bench.state, "shop", case.id, first, False, "the owner says no")
    assert {h.name: h.state for h in hypotheses(case)}["feature price for device tv"] == "rejected"
    assert {h.name: h.why for h in hypotheses(case)}["feature price for device tv"] == "the owner says no"


def test_the_timeline_tells_everything_in_order(bench):
    case = opened(bench)
    incident = Incident("k", "metric", "outcomes", "ctr", "", ONSET, ONSET + timedelta(hours=1), AT, "ctr left its range")
    keep(bench.state, "shop", incident)
    prepared = made(case=case.id, now=datetime.now(UTC).replace(microsecond=0))
    record = ledger.Record(prepared, ledger.UNDONE, "ann", published_at=prepared.fix.created_at + timedelta(minutes=1))
    record = ledger.Record(prepared, ledger.UNDONE, "ann", {}, {}, "x", record.published_at, record.published_at + timedelta(minutes=1))
    ledger.keep(bench.state, record, "publish hotfix", signed_by=["anna", "bo"], one_person=True)
    ledger.keep(bench.state, record, "undo hotfix")
    told = story(bench, case)
    rows = told.rows()
    assert rows["at"].is_monotonic_increasing
    assert rows["what"].tolist()[:3] == ["change", "onset", "detected"]
    assert set(rows["what"]) == {"change", "onset", "detected", "opened", "evidence", "accepted", "rejected", "fix"}
    assert "feature prices new job" in rows["text"].tolist()
    assert told.onset == ONSET
    assert told.detected_at == ONSET + timedelta(hours=1)
    assert told.fixed_at == record.published_at
    said = f"hotfix {record.serial} published, signed by anna, bo, in one-person mode"
    assert rows.loc[rows["text"] == said, "who"].tolist() == [whoami()]
    assert rows["text"].tolist()[-1] == f"hotfix {record.serial} undone"


def test_an_incident_of_another_metric_or_time_is_not_of_this_case(bench):
    case = opened(bench)
    for key, metric, since in (("a", "mrr", ONSET), ("b", "ctr", AT + timedelta(days=3))):
        keep(bench.state, "shop", Incident(key, "metric", "outcomes", metric, "", since, since, since + timedelta(hours=1), "x"))
    assert story(bench, case).found == ()


def test_an_incident_that_was_traced_to_the_same_cause_is_of_this_case_whichever_metric_showed_it(bench):
    case = opened(bench)
    traced = {"component": "feature", "target": "price"}
    for key, since, of in (("a", ONSET, traced), ("b", AT + timedelta(days=3), traced), ("c", ONSET, {**traced, "target": "age"})):
        one = Incident(key, "metric", "outputs", "score_mean", "", since, since, since + timedelta(hours=1), "x", cause=of)
        keep(bench.state, "shop", one)
    assert [i.key for i in story(bench, case).found] == ["a"]


def test_similar_cases_are_found_and_say_in_what(bench):
    past = opened(bench, "Last month", cause())
    add_entry(bench.state, "shop", past.id, "action", "rolled the job back")
    near = opened(bench, "Another feature", cause(target="age", kind="missing", where={"device": ["tv", "phone"]}))
    opened(bench, "A rule", cause("rules", "boost", {"country": ["de"]}, "version"))
    mine = opened(bench)
    others = [get_case(bench.state, "shop", i) for i in (past.id, near.id)]
    rule = [c for c in (get_case(bench.state, "shop", c.id) for c in [mine]) if c.id != mine.id]
    found = similar(mine, [*others, *rule, mine])
    assert [(s.case.id, round(s.similarity, 3)) for s in found] == [(past.id, 1.0), (near.id, 0.425)]
    assert found[0].shared == ("component feature", "target price", "device tv", "evidence stale")
    assert found[0].done == ("rolled the job back",)
    assert found[1].shared == ("component feature", "device tv")


def test_nothing_alike_is_not_similar(bench):
    other = opened(bench, "A rule", cause("rules", "boost", {"country": ["de"]}, "version"))
    assert similar(opened(bench), [other]) == []
    assert similar(create_case(bench.state, "shop", "Nothing known"), [other]) == []


def texts(told, bench):
    return {a.question: a for a in postmortem(told, watches(bench.state, "shop")).answers}


def test_what_detection_missed_offers_the_check_that_would_have_seen_it(bench):
    told = story(bench, opened(bench))
    first, second, third = texts(told, bench).values()
    assert first.text.startswith("Detection did not find it; the case was opened by")
    assert (first.check.metric, first.check.where, first.check.case) == ("ctr", "device=tv", told.case.id)
    assert "The change feature prices is logged" in second.text
    assert third.text.startswith("From the opening of the case to the accepted cause it took 0 minutes")


def test_a_check_that_is_there_is_not_offered_again(bench, monkeypatch):
    told = story(bench, opened(bench))
    check = Watch("clicks", "ctr", "device=tv")
    documents.put(bench.state, TABLE, "shop", "clicks", {"name": "clicks", "metric": "ctr", "where": "device=tv", "case": ""}, status="on")
    first = texts(told, bench)["Could we have detected it sooner?"]
    assert first.check is None
    assert "Detection watches ctr where device=tv since" in first.text
    assert watches(bench.state, "shop")[0].name == check.name


@pytest.mark.parametrize(
    ("component", "said"),
    [
        ("model", "pin_model"),
        ("rules", "pin_ruleset"),
        ("candidates", "forecasts of launches"),
    ],
)
def test_what_could_have_been_foretold_is_said(bench, component, said):
    target = "launches" if component == "candidates" else "x"
    assert said in texts(story(bench, opened(bench, "x", cause(component, target))), bench)["Could we have predicted it?"].text


def test_without_a_cause_nobody_can_say(bench):
    told = story(bench, create_case(bench.state, "shop", "Odd"))
    assert [a.text for a in texts(told, bench).values()] == [
        "When it began is not known, so nobody can say.",
        "No cause was accepted, so nobody can say.",
        "No hypothesis was accepted.",
    ]


def test_a_post_mortem_is_a_document_in_which_nothing_is_markup(bench):
    case = opened(bench, f"Odd {EVIL}", cause(target=f"price{EVIL}", where={"device": [EVIL]}))
    done = postmortem(story(bench, case), [], similar=tuple(similar(case, [opened(bench, EVIL, cause(target=f"price{EVIL}"))])))
    html = render(postmortem_page(done, workspace=EVIL))
    assert "<script" not in html
    assert "Could we have diagnosed it sooner?" in html
    text = postmortem_markdown(done, workspace=EVIL)
    assert "<script" not in re.sub(r"`[^`]*`", "", text)
    assert "](javascript" not in re.sub(r"`[^`]*`", "", text)
    assert "| onset | 2026\\-11\\-01T06:00:00Z |" in text or "| onset | 2026-11-01T06:00:00Z |" in text


def test_checks_are_added_kept_and_removed_with_an_audit(bench):
    assert add_watch(bench, Watch("fallbacks", "fallback_rate", "task=homepage", "c1"), actor="ann")
    assert not add_watch(bench, Watch("fallbacks", "error_rate", ""))
    (kept,) = watches(bench.state, "shop")
    assert (kept.metric, kept.where, kept.actor) == ("error_rate", "", "ann")
    assert documents.get(bench.state, TABLE, "shop", "fallbacks").payload == {
        "name": "fallbacks",
        "metric": "error_rate",
        "where": "",
        "case": "",
    }
    remove_watch(bench.state, "shop", "fallbacks")
    assert watches(bench.state, "shop") == []
    assert [a["act"] for a in bench.state.audited("shop")[:3]] == ["remove check", "add check", "add check"]
    for bad in (Watch("x", "ctrl"), Watch("x", "ctr", "devise=tv"), Watch("x", "ctr", "devise")):
        with pytest.raises(DiagnosisError):
            add_watch(bench, bad)
    with pytest.raises(ValueError, match="needs a name"):
        add_watch(bench, Watch(" ", "ctr"))
    with pytest.raises(DiagnosisError, match="no check 'none'"):
        remove_watch(bench.state, "shop", "none")
