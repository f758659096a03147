"""Incidents that share a cause become one."""

from datetime import timedelta

from diagnosis.detect.parts import akin, shared
from tests.detect.told import made

FEATURE = {"component": "feature", "target": "price"}


def parts_of(found, known=()):
    return {i.key: i.part_of for i in shared(found, known)}


def test_a_metric_its_feature_and_the_change_upstream_are_one_and_the_known_one_stands_for_them():
    dependency = made(key="d", kind="dependency", symptom="inputs", metric="price", where="", cause=FEATURE)
    feature = made(key="f", kind="input", symptom="inputs", metric="mean:price", where="", cause=None)
    clicks = made(key="c", cause=FEATURE)
    assert parts_of([clicks, feature, dependency], {"d"}) == {"c": "d", "f": "d", "d": ""}


def test_of_those_found_at_once_the_one_that_members_feel_stands_for_the_others():
    feature = made(key="f", kind="input", symptom="inputs", metric="mean:price", where="", cause=None)
    assert parts_of([feature, made(key="c", cause=FEATURE)]) == {"f": "c", "c": ""}


def test_an_objective_and_a_series_of_the_same_metric_and_slice_are_one():
    burning = made(key="o", kind="objective", symptom="serving", metric="error_rate", cause=None)
    series = made(key="s", symptom="serving", metric="error_rate", cause=None)
    assert akin(burning, series)
    assert not akin(burning, made(key="s", metric="error_rate", where="device=phone", cause=None))


def test_features_of_an_upstream_are_one_with_what_is_localized_to_that_upstream():
    missing = made(key="f", kind="input", symptom="inputs", metric="missing:stock", where="", cause=None, upstreams=("warehouse",))
    scores = made(key="s", symptom="outputs", metric="score_mean", cause={"component": "feature", "target": "warehouse"})
    assert parts_of([missing, scores]) == {"f": "s", "s": ""}
    assert not akin(made(key="f", kind="input", symptom="inputs", metric="missing:stock", cause=None, upstreams=("shop",)), scores)


def test_a_stale_upstream_and_the_freshness_objective_that_burns_for_it_are_one():
    stale = made(
        key="d", kind="dependency", symptom="inputs", metric="price", where="", cause=FEATURE, series=("unit|price", "late|warehouse")
    )
    burning = made(key="o", kind="objective", symptom="inputs", metric="warehouse", where="", cause=None)
    assert akin(stale, burning)
    assert not akin(stale, made(key="o", kind="objective", symptom="inputs", metric="catalogue", where="", cause=None))


def test_a_job_that_failed_and_the_objective_of_jobs_that_burns_for_it_are_one():
    failed = made(key="d", kind="dependency", symptom="inputs", metric="catalogue", where="", cause=None, series=("failed|catalogue",))
    burning = made(key="o", kind="objective", symptom="inputs", metric="load_catalogue", where="", cause=None)
    assert akin(burning, failed)
    assert akin(failed, burning)
    assert not akin(burning, made(key="d", kind="dependency", symptom="inputs", metric="catalogue", cause=None, series=("rows|catalogue",)))


def test_what_did_not_last_at_once_and_what_has_another_cause_stays_apart():
    one = made(key="a", cause=FEATURE)
    later = made(key="b", cause=FEATURE, since=one.seen_at + timedelta(hours=5), seen_at=one.seen_at + timedelta(hours=6))
    assert parts_of([one, later]) == {"a": "", "b": ""}
    assert parts_of([one, made(key="b", metric="mrr", cause={"component": "feature", "target": "stock"})]) == {"a": "", "b": ""}


def test_what_is_over_or_dismissed_stays_as_it_is():
    over = made(key="b", status="over", cause=FEATURE, part_of="a")
    assert shared([made(key="a", cause=FEATURE), over])[1] == over


def test_a_part_stands_for_itself_again_once_the_other_is_over():
    part = made(key="b", kind="input", symptom="inputs", metric="mean:price", where="", cause=None, part_of="a")
    assert parts_of([made(key="a", status="over", cause=FEATURE), part]) == {"a": "", "b": ""}
