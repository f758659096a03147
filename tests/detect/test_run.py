"""From a log to incidents: planted ones are found, where nothing is wrong nothing is reported, and bad input is said."""

import json
import multiprocessing
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.detect import kept
from diagnosis.detect.incidents import DISMISSED, OPEN, OVER, decide, incidents
from diagnosis.detect.pictures import FILE, load
from diagnosis.detect.run import detect
from diagnosis.errors import CannotSayError
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from diagnosis.store.alone import alone
from tests.detect.kiosk import hour, kiosk, more, rows

BROKEN = 8 * 24 + 5


def fell_in_the_south(at, place):
    return np.where((place == 1) & (at >= BROKEN), 0.08, 0.2)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("w") / "kiosk"
    kiosk(folder, 10 * 24, chance=fell_in_the_south)
    return folder


@pytest.fixture(scope="module")
def first_run(built):
    return detect(Workbench.open(built), localize=False)


def test_a_planted_drop_is_one_incident_with_its_slice_and_its_onset(first_run):
    assert [(i.metric, i.where, i.symptom, i.status) for i in first_run.incidents] == [("ctr", "place=south", "outcomes", "open")]
    found = first_run.incidents[0]
    assert found.key in first_run.new
    assert abs((found.since - hour(BROKEN)).total_seconds()) <= 2 * 3600
    assert found.value == pytest.approx(0.08, abs=0.02)
    assert found.low < 0.2 < found.high
    assert found.z < -5
    assert "ctr of place=south fell to" in found.sentence


def test_where_nothing_is_wrong_nothing_is_reported(tmp_path):
    kiosk(tmp_path / "kiosk", 10 * 24, seed=3)
    found = detect(Workbench.open(tmp_path / "kiosk"))
    assert (found.incidents, found.new, found.closed) == ((), (), ())
    assert found.judged == found.series > 20


def test_a_second_run_finds_the_same_under_the_same_key_and_reads_nothing(built, first_run):
    again = detect(Workbench.open(built), localize=False)
    assert (again.new, again.closed, again.hours_read) == ((), (), 0)
    assert [i.key for i in again.incidents] == [i.key for i in first_run.incidents]


def test_what_is_dismissed_stays_dismissed(tmp_path):
    kiosk(tmp_path / "kiosk", 9 * 24, chance=fell_in_the_south)
    bench = Workbench.open(tmp_path / "kiosk")
    key = detect(bench, localize=False).new[0]
    decide(bench.state, "kiosk", key, DISMISSED)
    more(bench.workspace, 9 * 24, 9 * 24 + 6, chance=fell_in_the_south)
    again = detect(bench.refreshed(), localize=False)
    assert (again.new, again.incidents) == ((), ())
    assert [i.status for i in incidents(bench.state, "kiosk")] == [DISMISSED]


def test_what_was_accepted_is_the_new_normal_of_its_series(tmp_path):
    def fell_twice(at, place):
        return np.where((place == 1) & (at >= 11 * 24), 0.01, fell_in_the_south(at, place))

    kiosk(tmp_path / "kiosk", 9 * 24, chance=fell_in_the_south, per_hour=240)
    bench = Workbench.open(tmp_path / "kiosk")
    key = detect(bench, localize=False).new[0]
    decide(bench.state, "kiosk", key, DISMISSED)
    more(bench.workspace, 9 * 24, 11 * 24, chance=fell_in_the_south, per_hour=240)
    assert detect(bench.refreshed(), localize=False).incidents == ()
    more(bench.workspace, 11 * 24, 12 * 24, chance=fell_twice, per_hour=240)
    found = detect(bench.refreshed(), localize=False)
    (second,) = found.incidents
    assert (second.symptom, second.where, second.key != key) == ("outcomes", "place=south", True)
    assert abs((second.since - hour(11 * 24)).total_seconds()) <= 6 * 3600
    ctr = next(i for i, s in enumerate(found.watched.panel.series) if s.key == "ctr|place=south")
    assert np.nanmean(found.watched.expected[ctr, 10 * 24 : 11 * 24]) == pytest.approx(0.08, abs=0.02)


def test_what_was_accepted_and_goes_back_rings_no_more(tmp_path):
    def back(at, place):
        return np.where((place == 1) & (at >= BROKEN) & (at < 10 * 24), 0.08, 0.2)

    kiosk(tmp_path / "kiosk", 9 * 24, chance=back, per_hour=240)
    bench = Workbench.open(tmp_path / "kiosk")
    key = detect(bench, localize=False).new[0]
    decide(bench.state, "kiosk", key, DISMISSED)
    for day in (9, 10, 11, 12):
        more(bench.workspace, day * 24, (day + 1) * 24, chance=back, per_hour=240)
        assert detect(bench.refreshed(), localize=False).new == ()
    (kept_,) = incidents(bench.state, "kiosk")
    assert (kept_.key, kept_.status) == (key, DISMISSED)
    assert abs((kept_.ended_at - hour(10 * 24)).total_seconds()) <= 6 * 3600


def test_what_lasts_for_two_weeks_is_usual_from_then_on(tmp_path):
    kiosk(tmp_path / "kiosk", 9 * 24, chance=fell_in_the_south)
    bench = Workbench.open(tmp_path / "kiosk")
    key = detect(bench, localize=False).new[0]
    more(bench.workspace, 9 * 24, 15 * 24, chance=fell_in_the_south)
    assert [i.key for i in detect(bench.refreshed(), localize=False).incidents] == [key]
    more(bench.workspace, 15 * 24, 21 * 24, chance=fell_in_the_south)
    assert [i.status for i in detect(bench.refreshed(), localize=False).incidents] == [OPEN]
    more(bench.workspace, 21 * 24, 23 * 24, chance=fell_in_the_south)
    found = detect(bench.refreshed(), localize=False)
    assert (found.new, found.closed) == ((), (key,))
    assert found.incidents[0].evidence[-1] == "It lasted for 14 days: what it is now is taken as usual."
    again = detect(bench.refreshed(), localize=False)
    assert (again.new, again.closed, again.incidents) == ((), (), ())


def test_an_incident_of_a_metric_that_cannot_be_computed_stays_as_it_is(tmp_path):
    def spoiled(at, place):
        return np.where(at >= BROKEN, 30.0, 10.0)

    own = {"metrics": {"odd": {"value": "price", "level": "candidate"}}}
    kiosk(tmp_path / "kiosk", 9 * 24, price=spoiled, settings=own | {"detect": {"metrics": ["odd"], "features": []}})
    bench = Workbench.open(tmp_path / "kiosk")
    (key,) = detect(bench, localize=False).new
    text = (bench.workspace.path / "diagnosis.toml").read_text()
    (bench.workspace.path / "diagnosis.toml").write_text(text.replace('"price"', '"price + gone"'))
    found = detect(Workbench.open(bench.workspace.path), localize=False)
    assert found.closed == ()
    assert [i.status for i in incidents(bench.state, "kiosk") if i.key == key] == [OPEN]


def test_a_metric_that_failed_once_is_tried_again_with_new_hours(tmp_path):
    workspace = kiosk(tmp_path / "kiosk", 4 * 24, settings={"metrics": {"speed": {"value": "latency_ms", "unit": "ms"}}})
    bench = Workbench.open(tmp_path / "kiosk")
    once = replace(kept.gather(bench, None), failed={"speed": "an odd batch"})
    more(workspace, 4 * 24, 4 * 24 + 6)
    assert kept.gather(bench.refreshed(), once).failed == {}


def test_only_new_hours_are_read_and_an_incident_that_ends_is_closed(tmp_path):
    def mended(at, place):
        return np.where((place == 1) & (at >= BROKEN) & (at < 9 * 24 + 5), 0.05, 0.2)

    kiosk(tmp_path / "kiosk", 9 * 24, chance=mended)
    bench = Workbench.open(tmp_path / "kiosk")
    key = detect(bench, localize=False).new[0]
    more(bench.workspace, 9 * 24, 11 * 24, chance=mended)
    bench = bench.refreshed()
    again = detect(bench, localize=False)
    assert again.hours_read == 48
    assert (again.new, again.closed) == ((), (key,))
    assert [(i.key, i.status) for i in incidents(bench.state, "kiosk")] == [(key, OVER)]
    assert detect(bench, localize=False).closed == ()


def test_late_outcomes_make_their_own_hours_read_again(tmp_path):
    workspace = kiosk(tmp_path / "kiosk", 4 * 24)
    bench = Workbench.open(tmp_path / "kiosk")
    detect(bench, localize=False)
    before = kept.load(kept.path_of(bench))
    late = rows(0, 4 * 24)[2].slice(0, 10)
    workspace.add_outcomes(late)
    found = detect(bench.refreshed(), localize=False)
    after = kept.load(kept.path_of(bench))
    assert found.hours_read == 1
    assert after.sums.shape == before.sums.shape


def test_a_damaged_file_of_sums_is_made_anew(built, first_run):
    bench = Workbench.open(built)
    file = kept.path_of(bench)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    found = detect(bench, localize=False)
    assert found.hours_read == 240
    assert [i.key for i in found.incidents] == [i.key for i in first_run.incidents]


def test_sums_that_are_read_bit_by_bit_are_those_read_at_once(tmp_path):
    workspace = kiosk(tmp_path / "kiosk", 3 * 24)
    bench = Workbench.open(tmp_path / "kiosk")
    some = kept.gather(bench, None)
    more(workspace, 3 * 24, 5 * 24)
    bench = bench.refreshed()
    nothing = replace(some, files={}, series=some.series[:0], hour=some.hour[:0], sums=some.sums[:0])
    bitwise, once = kept.gather(bench, some), kept.gather(bench, nothing)
    assert (bitwise.read, once.read) == (48, 120)
    one, other = kept.panel_of(bench, bitwise), kept.panel_of(bench, once)
    assert [s.key for s in one.series] == [s.key for s in other.series]
    for name in ("n", "x", "y", "xx", "xy", "yy"):
        assert np.allclose(getattr(one, name), getattr(other, name), rtol=1e-12, atol=1e-9)


def test_a_gap_is_said_and_shows_in_the_number_of_requests_alone(tmp_path):
    kiosk(tmp_path / "kiosk", 9 * 24, quiet=range(100, 112))
    found = detect(Workbench.open(tmp_path / "kiosk"), localize=False)
    assert ("12 hours", "nothing was logged, first at 2026-03-06 04:00 UTC") in found.skipped
    assert [i.metric for i in incidents(Workbench.open(tmp_path / "kiosk").state, "kiosk")] == ["requests"]


def test_traffic_that_stops_is_an_incident_of_requests(tmp_path):
    workspace = kiosk(tmp_path / "kiosk", 9 * 24)
    more(workspace, 9 * 24 + 5, 9 * 24 + 6)
    found = detect(Workbench.open(tmp_path / "kiosk"), localize=False)
    assert [(i.metric, i.where, i.z < -5) for i in found.incidents] == [("requests", "", True)]


def test_errors_that_rise_are_found_in_their_hour(tmp_path):
    kiosk(tmp_path / "kiosk", 8 * 24, failing=lambda at, place: np.where(at >= 8 * 24 - 1, 0.4, 0.02))
    found = detect(Workbench.open(tmp_path / "kiosk"), localize=False)
    assert [(i.metric, i.where, i.since) for i in found.incidents] == [("error_rate", "", hour(8 * 24 - 1))]


def test_a_feature_that_moves_is_an_incident_of_inputs(tmp_path):
    kiosk(tmp_path / "kiosk", 9 * 24, price=lambda at, place: np.where(at >= BROKEN, 0.0, 10.0))
    found = detect(Workbench.open(tmp_path / "kiosk"), localize=False)
    assert [(i.kind, i.metric, i.where, i.since) for i in found.incidents] == [("input", "mean:price", "", hour(BROKEN))]


def test_a_task_that_appears_is_not_judged_until_it_has_a_history(tmp_path):
    workspace = kiosk(tmp_path / "kiosk", 8 * 24)
    requests, candidates, outcomes = rows(8 * 24, 8 * 24 + 12, prefix="new", per_hour=5)
    place = requests.column_names.index("task")
    requests = requests.set_column(place, "task", pa.array(["brand new"] * len(requests)))
    workspace.append(requests=requests, candidates=candidates, outcomes=outcomes.drop_columns(["date"]))
    more(workspace, 8 * 24, 8 * 24 + 12)
    found = detect(Workbench.open(tmp_path / "kiosk"), localize=False)
    assert found.incidents == ()
    assert any("fewer than 48 hours of data" in why for _, why in found.skipped)


def test_an_all_zero_series_gives_no_alarm_and_its_first_events_do(tmp_path):
    kiosk(tmp_path / "kiosk", 8 * 24, failing=lambda at, place: np.where(at >= 8 * 24 - 2, 0.2, 0.0))
    found = detect(Workbench.open(tmp_path / "kiosk"), localize=False)
    assert [(i.metric, i.since) for i in found.incidents] == [("error_rate", hour(8 * 24 - 2))]


def test_one_data_point_is_too_little_to_say_anything(tmp_path):
    kiosk(tmp_path / "kiosk", 1, per_hour=1)
    with pytest.raises(CannotSayError):
        detect(Workbench.open(tmp_path / "kiosk"))


def test_an_empty_log_cannot_be_judged(tmp_path):
    requests, candidates, _ = rows(0, 1)
    made = Workspace.create(tmp_path / "kiosk", id="kiosk")
    made.append(requests=requests.slice(0, 0), candidates=candidates.slice(0, 0))
    with pytest.raises(CannotSayError):
        detect(Workbench.open(tmp_path / "kiosk"))


def test_a_metric_whose_expression_fails_is_named_and_the_others_go_on(tmp_path):
    own = {"metrics": {"odd": {"value": "no_such_column + 1"}, "speed": {"value": "latency_ms", "unit": "ms"}}}
    kiosk(tmp_path / "kiosk", 5 * 24, settings=own)
    found = detect(Workbench.open(tmp_path / "kiosk"), localize=False)
    assert [what for what, _ in found.skipped if what == "odd"] == ["odd"]
    assert any(s.name == "speed" for s in found.watched.panel.series)


def _hold(folder, held, done):
    with alone(folder):
        held.set()
        done.wait(20)


def test_a_second_detector_says_that_another_is_at_work(built, first_run):
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(built / "detect", held, done))
    other.start()
    assert held.wait(60)
    try:
        with pytest.raises(CannotSayError, match="Another detection"):
            detect(Workbench.open(built), wait_s=0.0)
    finally:
        done.set()
        other.join(20)
    assert detect(Workbench.open(built), localize=False, wait_s=0.0).new == ()


def test_pictures_of_what_is_open_are_kept(built, first_run):
    found = load(built / "detect" / FILE)
    rows = found.of(first_run.incidents[0].key)
    assert rows["series"].iloc[0] == "ctr of place=south"
    known = rows.dropna()
    assert len(known) > 200
    assert (known["low"] <= known["expected"]).all()
    assert found.until == first_run.until


def test_json_holds_what_is_documented(first_run):
    told = json.loads(json.dumps(first_run.as_json()))
    assert set(told) == {
        "incidents",
        "new",
        "closed",
        "since",
        "until",
        "series",
        "judged",
        "hours_read",
        "skipped",
        "delivered",
        "elapsed_s",
    }
    assert told["incidents"][0]["status"] == OPEN
