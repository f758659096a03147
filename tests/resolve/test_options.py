from diagnosis.resolve.options import Trouble, options, ranked
from tests.localize import market as m

CAUSE = {
    "component": "feature",
    "target": "discount",
    "slice": {"task": ["browse"]},
    "since": "2026-03-06T00:00:00Z",
    "owner": "pricing-team",
}


def found(stall, **changes):
    return {o.play.name: o for o in options(Trouble(stall[0], {**CAUSE, **changes}, m.BASELINE, m.INCIDENT))}


def test_targets_are_filled_in_from_the_case(stall):
    listed = found(stall)
    last, typical = listed["last_good"], listed["typical"]
    assert [str(a) for a in last.actions] == ["set_feature:discount=last_good?task=browse"]
    assert last.actions[0].values["before"] == "2026-03-06T00:00:00Z"
    assert 0.3 < typical.actions[0].values["value"] < 0.7
    assert listed["sentinel"].missing == "The contract of discount names no sentinel."
    assert listed["previous_model"].missing == "The model version is the one of the baseline, 2."
    assert [str(a) for a in listed["fallback"].actions] == ["fallback:popular?task=browse"]
    assert listed["mend_upstream"].play.step.startswith("Ask its owner (pricing-team) to correct the job")
    assert not listed["mend_upstream"].actions


def test_an_upstream_stands_for_all_of_its_features(stall):
    assert [a.target for a in found(stall, target="pricing")["last_good"].actions] == ["discount"]


def test_a_slice_of_items_is_left_out_since_requests_cannot_tell_it(stall):
    assert str(found(stall, slice={"kind": ["lamp"], "channel": ["app", None]})["last_good"].actions[0].where) == "channel=app,"


def test_what_is_not_broken_needs_nothing_but_reading(stall):
    listed = found(stall, component="traffic", target="channel")
    assert all(not o.actions for o in listed.values())
    assert listed["read_by_slice"].play.title == "Change nothing: read the metric by channel"


def test_an_unknown_version_or_retriever_is_said(stall):
    listed = found(stall, component="candidates", target="new")
    assert [str(a) for a in listed["retriever_off"].actions] == ["retriever_off:new?task=browse"]
    listed = found(stall, component="candidates", target="new", evidence=[{"kind": "composition", "text": "new proposes fewer items"}])
    assert "proposes too little" in listed["retriever_off"].missing


def test_options_are_ranked_by_what_is_surely_gained_and_what_harms_comes_last(stall, scene):
    seen = []
    order = ranked(scene, list(found(stall).values()), progress=lambda text, share, so_far: seen.append(share))
    assert order[0].play.name == "last_good"
    assert order[0].ready
    assert order[-1].play.name == "fallback"
    assert order[-1].rehearsal.refused.startswith("It harms browse")
    assert seen == sorted(seen)


def test_what_only_its_cap_keeps_back_stands_before_what_people_do_by_hand(stall, scene):
    order = ranked(scene, list(found(stall).values()), cap=0.01)
    assert order[0].play.name == "last_good"
    assert order[0].rehearsal.too_wide
    assert not order[-1].rehearsal.too_wide
