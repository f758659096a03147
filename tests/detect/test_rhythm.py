"""Hours of the day, days of the week, campaigns."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from diagnosis.detect.rhythm import occasions, rhythm
from diagnosis.errors import SettingsError

MONDAY = int(datetime(2026, 3, 23, tzinfo=UTC).timestamp()) // 3600


def at(day, hour=0):
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def changes(*rows):
    return pd.DataFrame(rows, columns=["changed_at", "kind", "target", "before", "after"])


def test_a_campaign_lasts_until_a_row_that_ends_it():
    found = occasions(
        changes((at(1), "campaign", "spring", None, "on"), (at(4), "campaign", "spring", "on", None), (at(2), "model", "m", "1", "2"))
    )
    assert [(o.since, o.until, o.target) for o in found] == [(at(1), at(4), "spring")]


def test_a_campaign_whose_end_nobody_wrote_down_lasts_a_week():
    found = occasions(changes((at(1), "campaign", "spring", None, "on")))
    assert [(o.since, o.until) for o in found] == [(at(1), at(8))]


def test_a_workspace_without_changes_has_no_occasion():
    assert occasions(pd.DataFrame(columns=["changed_at", "kind", "target", "before", "after"])) == ()


def test_columns_repeat_every_week_but_for_the_trend():
    found = rhythm(MONDAY, 28 * 24)
    season = found.columns[:, 2:47]  # waves, hours, days and weekends
    assert np.allclose(season[:168], season[168:336])
    assert not np.allclose(season[:24], season[24:48])


def test_a_clock_change_moves_the_hours_where_members_live_and_not_elsewhere():
    berlin, utc = rhythm(MONDAY, 14 * 24, timezone="Europe/Berlin").columns, rhythm(MONDAY, 14 * 24).columns
    hours = slice(10, 34)  # the columns of the hours of the day
    before, after = 12, 12 + 7 * 24  # noon in UTC on both sides of the change of 29 March 2026
    assert (berlin[before, hours].argmax(), berlin[after, hours].argmax()) == (13, 14)
    assert (utc[before, hours].argmax(), utc[after, hours].argmax()) == (12, 12)


def test_an_unknown_time_zone_is_named():
    with pytest.raises(SettingsError, match="Mars"):
        rhythm(MONDAY, 24, timezone="Mars/Olympus")


def test_a_campaign_has_columns_of_its_own_and_a_break_where_it_begins():
    known = occasions(changes((at(25), "campaign", "spring", None, "on"), (at(26), "campaign", "spring", "on", "off")))
    with_, without = rhythm(MONDAY, 96, known), rhythm(MONDAY, 96)
    assert with_.columns.shape[1] == without.columns.shape[1] + 3
    assert np.flatnonzero(with_.columns[:, -3]).tolist() == list(range(48, 72))
    assert with_.breaks == (48,)
    assert timedelta(hours=48) == at(25) - at(23)
