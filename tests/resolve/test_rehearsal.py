"""Fixes played on logged requests: what they would have done, and when nobody can say."""

import json

import numpy as np
import pytest

from diagnosis.errors import CannotSayError, DiagnosisError, WindowError
from diagnosis.metrics import metric
from diagnosis.resolve.actions import parse_action
from diagnosis.resolve.playing import act
from diagnosis.resolve.rehearsal import rehearse
from diagnosis.resolve.scene import open_scene
from tests.localize import market as m
from tests.resolve.stall import tasks_of

SINCE = m.INCIDENT.since


def fix(text):
    return parse_action(text, before=SINCE)


def verdicts(made):
    return {g.value: g.verdict for g in made.tasks}


def expected_ctr(market, models, discount, rows):
    """What members would do on pages by version 2 with these discounts: from the market's own law, without any log."""
    score = models["2"].predict(market.matrix(discount=discount), raw_score=True).reshape(market.item.shape)
    place = np.argsort(np.argsort(-score, axis=1, kind="stable"), axis=1) + 1
    chance = market.look[place - 1] / (1 + np.exp(-market.worth))
    weight = np.where(market.channel == 2, 1.0, 2.0)
    ok = market.status == "ok"
    clicks = np.where(place <= m.SLOTS, chance, 0.0).sum(axis=1)
    return float((weight * clicks)[rows & ok].sum() / (weight * m.SLOTS)[rows].sum())


def test_the_last_good_value_brings_back_what_the_noise_took(scene, stall):
    _, market, models = stall
    made = rehearse(scene, [fix("set_feature:discount=last_good?task=browse")])
    assert made.refused == ""
    assert verdicts(made) == {"browse": "helped", "gift": "unchanged"}
    truth = expected_ctr(market, models, market.true, market.late) - expected_ctr(market, models, market.discount, market.late)
    assert truth > 0.02
    assert made.whole.low - 0.01 < truth < made.whole.high + 0.01
    assert made.fixed_share > made.harmed_share
    assert made.blast == pytest.approx(2 / 3, abs=0.02)
    assert made.proof == "replay+model"
    assert any("logged for 100% of the candidates" in note for note in made.notes)
    same = rehearse(scene, [fix("set_feature:discount=last_known?task=browse")])
    assert same.whole == made.whole  # every item was there before


def test_what_is_served_already_changes_nothing(scene):
    made = rehearse(scene, [fix("pin_model:seller=2")])
    assert verdicts(made) == {"browse": "unchanged", "gift": "unchanged"}
    assert (made.whole.change, made.pages_changed, made.fixed_share, made.harmed_share) == (0.0, 0.0, 0.0, 0.0)
    assert made.refused == ""
    assert made.latency.fixed_ms > 0


def test_a_fix_that_helps_one_task_and_harms_another_is_refused_until_the_harm_is_accepted(scene):
    action = [fix("set_feature:discount=0.5")]
    made = rehearse(scene, action)
    assert verdicts(made) == {"browse": "helped", "gift": "harmed"}
    assert made.refused == "It harms gift while it helps browse."
    assert rehearse(scene, action, accept=["gift"]).refused == ""
    assert rehearse(scene, [fix("set_feature:discount=0.5?task=browse")]).refused == ""


def test_a_worse_model_is_refused(scene):
    made = rehearse(scene, [fix("pin_model:seller=1")])
    assert made.refused.startswith("It harms")
    assert made.whole.change < 0
    assert "harmed" in {g.verdict for g in made.slices}


def test_a_fix_for_more_requests_than_its_cap_is_refused(scene):
    made = rehearse(scene, [fix("block_item:i1?channel=app")], cap=0.2)
    assert "its cap is 20.0%" in made.refused
    assert rehearse(scene, [fix("block_item:i1@0.2?channel=app")], cap=0.2).refused == ""


def test_a_fix_for_one_environment_leaves_the_others(scene):
    action = fix("set_feature:discount=0.5")
    names = np.array(scene.sample.batch.requests.column("environment").to_pylist())
    assert set(names[scene.requests_of(action, "north")]) == {"north"}
    assert set(names[scene.requests_of(action, "all")]) == {"north", "south"}
    assert rehearse(scene, [action], environment="north").blast == 1.0


def pages_of(scene, *texts):
    """Items by position before and after, for each request of the incident that is hit."""
    acted = act(scene, [fix(t) for t in texts])
    played = acted.play()
    items = scene.sample.batch.candidates.column("item_id").to_pylist()
    offsets = scene.sample.batch.offsets
    found = []
    for row in np.flatnonzero(acted.hit):
        mine = range(offsets[row], offsets[row + 1])
        both = []
        for position in (scene.served.position, played.position):
            both.append([items[i] for i in sorted((i for i in mine if position[i] > 0), key=lambda i: position[i])])
        found.append(tuple(both))
    for row in np.flatnonzero(~acted.hit):
        mine = slice(offsets[row], offsets[row + 1])
        assert (played.position[mine] == scene.served.position[mine]).all()
    return found


def test_a_blocked_item_gives_its_place_to_the_next(scene):
    seen = [(a, b) for a, b in pages_of(scene, "block_item:i3") if "i3" in a]
    assert len(seen) > 50
    for before, after in seen:
        rest = [i for i in before if i != "i3"]
        assert after[: len(rest)] == rest
        assert len(after) in (len(before), len(before) - 1)  # where the log has no more candidates that were scored, none moves up


@pytest.mark.parametrize("place", [1, 3, 5])
def test_a_pinned_item_stands_there_and_the_others_keep_their_order(scene, place):
    changed = 0
    for before, after in pages_of(scene, f"pin_item:i3={place}"):
        if "i3" in after:
            assert after.index("i3") == place - 1
            assert [i for i in after if i != "i3"] == [i for i in before if i != "i3"][: len(after) - 1]
            changed += before != after
        else:
            assert before == after
    assert changed > 50


def test_without_a_retriever_what_it_alone_proposed_is_gone(scene):
    held = scene.sample.batch.candidates.select(["request_id", "item_id", "retrievers"]).to_pylist()
    alone = {(c["request_id"], c["item_id"]) for c in held if c["retrievers"] == ["new"]}
    ids = [i for i, hit in zip(scene.ids, act(scene, [fix("retriever_off:new")]).hit, strict=True) if hit]
    gone = 0
    for name, (before, after) in zip(ids, pages_of(scene, "retriever_off:new"), strict=True):
        assert not any((name, item) in alone for item in after) or before == after
        gone += before != after
    assert gone > 100


def test_a_fallback_is_made_anew_by_what_its_pages_went_by(scene):
    made = rehearse(scene, [fix("fallback:popular@0.5")])
    assert made.whole.verdict == "harmed"
    assert any("by heat, the highest first" in note and "100% of the items" in note for note in made.notes)
    assert made.blast == pytest.approx(0.5, abs=0.05)


def test_two_actions_are_played_together(scene):
    one = rehearse(scene, [fix("set_feature:discount=last_good?task=browse")])
    both = rehearse(scene, [fix("set_feature:discount=last_good?task=browse"), fix("block_item:i3")])
    assert both.whole.change != one.whole.change
    assert both.blast == 1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("retriever_off:none", "No logged candidate was proposed by a retriever 'none'"),
        ("block_item:none", "Item 'none' is no candidate"),
        ("pin_item:none=1", "Item 'none' is no candidate"),
        ("set_feature:colour=red", "is given the feature 'colour'"),
        ("set_feature:discount=red", "holds numbers"),
        ("fallback:elsewhere", "the log knows popular; read more"),
        ("pin_model:other=1", "no model version '1'"),
        ("pin_model:seller=9", "no model version '9'"),
        ("pin_ruleset:none", "no ruleset 'none'"),
        ("block_item:i3?channel=moon", "No logged request"),
        ("block_item:i3?chanel=app", "no attribute 'chanel'"),
    ],
)
def test_what_cannot_be_replayed_says_why(scene, text, said):
    with pytest.raises(DiagnosisError, match=f"(?i){said}"):
        rehearse(scene, [fix(text)])


def test_a_service_metric_counts_who_falls_back(stall, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_SECRET", "stall")
    service = open_scene(stall[0], metric("fallback_rate"), m.BASELINE, m.INCIDENT, most=1500)
    made = rehearse(service, [fix("fallback:popular?channel=app")])
    assert made.proof == "replay"
    assert made.whole.change == pytest.approx(made.blast, abs=1e-9)
    assert made.refused.startswith("It harms")


def test_a_metric_that_is_no_sum_and_windows_that_overlap_are_refused(stall):
    with pytest.raises(CannotSayError, match="no sum"):
        open_scene(stall[0], metric("latency_p95"), m.BASELINE, m.INCIDENT)
    with pytest.raises(WindowError):
        open_scene(stall[0], metric("ctr"), m.INCIDENT, m.INCIDENT)


def test_a_rehearsal_is_a_document(scene):
    held = json.loads(json.dumps(rehearse(scene, [fix("block_item:i3")]).as_json(), allow_nan=False))
    assert {"whole", "tasks", "slices", "refused", "sentence", "latency", "blast", "comes_back"} <= set(held)
    assert tasks_of(m.Market(n=3)).tolist() == [True, False, False]
