"""Series whose truth is known, watched hour by hour."""

from dataclasses import replace

import numpy as np
import pytest

from diagnosis.detect.episodes import episodes, together
from diagnosis.detect.panel import OUTCOMES, SERVING, Panel, Series, apart
from diagnosis.detect.rhythm import Occasion, rhythm
from diagnosis.detect.watching import Options, watch

FIRST = 494_304  # a Monday
HOURS = 28 * 24
JUDGED = 14 * 24


def panel_of(chances, n=2000, seed=0, form="share"):
    """Shares with these chances, shape (series, hours), each of `n` requests an hour."""
    rng = np.random.default_rng(seed)
    sizes = np.broadcast_to(np.asarray(n, dtype=float), chances.shape)
    y = rng.binomial(sizes.astype(int), chances).astype(float)
    series = tuple(Series("ctr", "ctr", f"place={i}" if i else "", OUTCOMES, form) for i in range(len(chances)))
    return Panel(series, FIRST, sizes, sizes, y, sizes, y, y, np.full(len(chances), chances.shape[1]))


def wave(level=0.1, series=1, hours=HOURS):
    t = np.arange(hours)
    rhythm_ = 1 + 0.3 * np.sin(2 * np.pi * t / 24) + 0.15 * ((t // 24) % 7 >= 5) + 0.05 * t / hours
    return np.repeat(level * rhythm_[None], series, axis=0)


def watched(panel, occasions=(), **options):
    return watch(panel, rhythm(FIRST, panel.hours, occasions), Options(judged_from=JUDGED, **options))


def test_seasons_and_trend_alone_give_no_alarm_in_forty_series():
    assert watched(panel_of(wave(series=40))).alarms == ()


def test_a_large_step_is_found_in_its_first_hour_and_a_small_one_later():
    chances = wave(series=2)
    chances[0, 500:] *= 1.6
    chances[1, 500:] *= 1.12
    found = {e.series: e for e in episodes(watched(panel_of(chances)))}
    assert found[0].found == 500
    assert 500 < found[1].found < 540
    assert abs(found[1].onset - 500) <= 12


def test_what_was_expected_is_within_its_interval_as_often_as_it_says():
    panel = panel_of(wave(series=30))
    found = watched(panel)
    hours = slice(JUDGED, None)
    inside = (found.value >= found.low) & (found.value <= found.high)
    assert 0.92 < inside[:, hours].mean() < 0.99


def test_a_past_incident_does_not_move_what_is_expected():
    chances = wave()
    chances[0, 340:380] *= 0.3
    found = watched(panel_of(chances))
    truth = wave()[0, 420:]
    assert np.abs(found.expected[0, 420:] / truth - 1).max() < 0.1
    assert {e.series for e in episodes(found) if e.last > 400} == set()


def test_a_campaign_that_is_known_is_no_alarm_and_one_that_is_not_is():
    from datetime import UTC, datetime

    chances = wave(series=3)
    chances[:, 480:552] *= 1.3
    panel = panel_of(chances)
    since, until = (datetime.fromtimestamp((FIRST + h) * 3600, tz=UTC) for h in (480, 552))
    assert watched(panel, (Occasion(since, until, "spring"),)).alarms == ()
    assert len(watched(panel).alarms) > 0


def test_a_clock_change_is_no_surprise_where_members_live_and_one_elsewhere():
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    first = int(datetime(2026, 10, 5, tzinfo=UTC).timestamp() // 3600)  # the clocks of Berlin go back on the 25th, after twenty days
    at = [datetime.fromtimestamp((first + h) * 3600, tz=ZoneInfo("Europe/Berlin")) for h in range(HOURS)]
    chances = np.repeat(np.array([[0.3 if 18 <= t.hour < 22 else 0.1 for t in at]]), 3, axis=0)
    panel = replace(panel_of(chances, n=4000), first=first)

    def alarms(timezone):
        return watch(panel, rhythm(first, HOURS, timezone=timezone), Options(judged_from=JUDGED)).alarms

    assert alarms("Europe/Berlin") == ()
    assert len(alarms("UTC")) > 0


def test_a_gap_in_the_log_is_no_alarm_of_a_share():
    chances = wave(series=3)
    n = np.full(chances.shape, 2000.0)
    n[:, 400:420] = 0
    assert watched(panel_of(chances, n)).alarms == ()


def test_sparse_series_give_no_alarm_by_chance_and_one_for_a_burst():
    chances = np.full((30, HOURS), 0.002)
    panel = panel_of(chances, n=40)
    assert watched(panel).alarms == ()
    burst = chances.copy()
    burst[4, 500:503] = 0.3
    assert {a.series for a in watched(panel_of(burst, n=40)).alarms} == {4}


def test_one_odd_request_is_no_incident_and_several_are():
    rng = np.random.default_rng(4)
    y = rng.binomial(8, 0.1, (3, HOURS)).astype(float)  # one page of eight places an hour
    y[1, 600] = 8
    y[2, 600:606] = 8
    one, x = np.ones_like(y), np.full_like(y, 8.0)
    series = tuple(Series("ctr", "ctr", f"place={i}", OUTCOMES, "share") for i in range(3))
    panel = Panel(series, FIRST, one, x, y, x * x, x * y, y * y, np.full(3, HOURS))
    assert {a.series for a in watched(panel).alarms} == {2}


def test_an_all_zero_series_is_expected_to_be_zero_and_gives_no_alarm():
    found = watched(panel_of(np.zeros((2, HOURS))))
    assert found.alarms == ()
    assert (np.nan_to_num(found.expected[:, JUDGED:]) < 0.001).all()


def test_a_history_of_two_days_says_only_what_can_be_said():
    chances = wave(hours=60)
    chances[0, 55:] *= 0.05
    panel = panel_of(chances)
    found = watch(panel, rhythm(FIRST, 60), Options(judged_from=50))
    assert found.judged.all()
    usual = watch(panel_of(wave(hours=60)), rhythm(FIRST, 60), Options(judged_from=50))
    assert usual.alarms == ()


def test_counts_that_stop_are_found_in_the_hour():
    rng = np.random.default_rng(1)
    y = rng.poisson(300 * wave(1.0)).astype(float)
    y[0, 600:] = 0
    one = np.ones_like(y)
    panel = Panel((Series("requests", "requests", "", SERVING, "count"),), FIRST, y, one, y, one, y, y, np.array([HOURS]))
    assert watched(panel).alarms[0].hour == 600


def test_what_began_together_in_slices_that_touch_is_one_and_slices_of_other_metrics_apart_are_not():
    chances = wave(series=4)
    chances[[0, 2], 500:] *= 1.5
    found = together(*_of(watched(panel_of(chances))))
    assert [sorted({e.series for e in g}) for g in found] == [[0, 2]]
    assert apart("place=1", "place=2")
    assert not apart("place=1", "task=home")
    assert not apart("", "place=1")


def _of(found):
    return found.panel, episodes(found)


def test_more_false_alarms_are_allowed_where_more_are_accepted():
    chances = wave(series=40)
    few, many = (len(watched(panel_of(chances, seed=5), false_per_month=f).alarms) for f in (0.5, 5000.0))
    assert few == 0
    assert many > 0


def test_sums_of_another_shape_are_refused():
    ones = np.ones((1, 5))
    with pytest.raises(ValueError, match="one shape"):
        Panel((Series("a", "a", "", OUTCOMES, "share"),), 0, ones, ones, ones, ones, ones, np.ones((1, 4)), np.array([5]))
