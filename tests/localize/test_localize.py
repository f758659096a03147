"""Planted truth per component, on a market that shares no name with the sample workspace."""

from datetime import timedelta

import numpy as np
import pytest

from diagnosis.errors import CannotSayError, WindowError
from diagnosis.localize import CAUSE_FOUND, NO_CHANGE, NOT_ENOUGH_DATA, Cancelled, Window, diagnose, localize, parse_window
from diagnosis.metrics import metric

from . import market as m


@pytest.fixture(scope="module")
def models():
    return m.boosters()


@pytest.fixture
def ask(tmp_path, models):
    def asked(market, name="ctr", **options):
        bench = m.open_market(tmp_path / "market", market, models)
        return localize(bench, metric(name), m.BASELINE, m.INCIDENT, **options)

    return asked


def first(answer):
    assert answer.verdict == CAUSE_FOUND, answer.reason
    cause = answer.causes[0]
    return cause.component, cause.target, dict(cause.where)


def test_nothing_wrong_reports_nothing(ask):
    answer = ask(m.Market())
    assert answer.verdict == NO_CHANGE
    assert answer.causes == ()
    assert answer.replayable_share == 1.0


def test_a_stuck_feature_is_found_with_its_slice_onset_and_owner(ask):
    market = m.Market()
    hit = market.late & (market.channel == 0)
    market.discount = np.where(hit[:, None], 0.25, market.discount)
    answer = ask(market)
    assert first(answer) == ("feature", "discount", {"channel": ["app"]})
    cause = answer.causes[0]
    assert cause.owner == "pricing-team"
    assert cause.proof == "replay+model"
    assert abs((cause.since - m.INCIDENT.since).total_seconds()) < 3600
    assert cause.effect < 0
    assert cause.low <= cause.explains <= cause.high


def test_a_shuffled_column_keeps_every_marginal_and_is_found(ask):
    market = m.Market(n=5000)
    rng = np.random.default_rng(5)
    shuffled = market.fit.copy()
    rows = np.flatnonzero(market.late)
    shuffled[rows] = rng.permuted(shuffled[rows].ravel()).reshape(len(rows), -1)
    market.fit = shuffled
    assert first(ask(market)) == ("feature", "fit", {})


def test_an_older_model_is_found(ask):
    market = m.Market()
    market.version = np.where(market.late & (market.channel == 1), "1", "2").astype(object)
    assert first(ask(market)) == ("model", "1", {"channel": ["site"]})


def test_scores_of_another_model_than_the_log_names_are_found(ask):
    market = m.Market()
    market.spoil["scored_by"] = np.where(market.late & (market.channel == 0), "1", "2").astype(object)
    assert first(ask(market)) == ("serving", "1", {"channel": ["app"]})


def test_pages_without_the_model_are_found(ask):
    market = m.Market()
    market.status = np.where(market.late & (market.channel == 0), "fallback", "ok").astype(object)
    assert first(ask(market)) == ("serving", "fallback", {"channel": ["app"]})


def test_a_sort_the_wrong_way_round_is_found(ask):
    market = m.Market()
    market.ascending = market.late & (market.channel == 2)
    assert first(ask(market)) == ("rules", "sort", {"channel": ["kiosk"]})


def test_lost_outcomes_are_told_from_bad_pages(ask):
    market = m.Market(n=5000)
    market.lost = (market.late & (market.channel == 0))[:, None] & (np.random.default_rng(1).random(market.item.shape) < 0.5)
    assert first(ask(market)) == ("logging", "app", {"channel": ["app"]})


def test_a_changed_mix_is_told_from_a_fault(ask):
    market = m.Market(n=8000)
    market.worth = market.worth - 3.0 * (market.channel == 2)[:, None]
    keep = ~((~market.late) & (market.channel == 2) & (np.random.default_rng(2).random(market.n) < 0.8))
    for name in (
        "day",
        "channel",
        "member",
        "item",
        "kind",
        "discount",
        "fit",
        "worth",
        "late",
        "luck",
        "version",
        "status",
        "ascending",
        "lost",
    ):
        setattr(market, name, getattr(market, name)[keep])
    market.n = int(keep.sum())
    assert first(ask(market)) == ("traffic", "channel", {})


def test_a_metric_that_replay_determines_is_proved(ask):
    market = m.Market()
    market.discount = np.where((market.late & (market.channel == 0))[:, None], 0.25, market.discount)
    answer = ask(market, "score_mean")
    assert first(answer) == ("feature", "discount", {"channel": ["app"]})
    assert answer.causes[0].proof == "replay"
    assert answer.causes[0].explains == pytest.approx(1.0, abs=0.15)


def test_a_first_ranking_comes_before_the_answer_and_cancelling_stops(ask, tmp_path, models):
    seen = []
    answer = ask(m.Market(), progress=lambda text, share, found: seen.append((text, share, found)))
    assert next(f.final for _, _, f in seen if f is not None) is False
    assert seen[-1][2] == answer
    assert answer.final
    bench = m.open_market(tmp_path / "again", m.Market(n=200), models)
    with pytest.raises(Cancelled):
        localize(bench, metric("ctr"), m.BASELINE, m.INCIDENT, cancelled=lambda: True)


def test_few_requests_are_not_enough(ask):
    assert ask(m.Market(n=40)).verdict == NOT_ENOUGH_DATA


def test_bad_windows_are_told(tmp_path, models):
    bench = m.open_market(tmp_path / "market", m.Market(n=200), models)
    with pytest.raises(WindowError, match="overlap"):
        localize(bench, metric("ctr"), m.BASELINE, Window(m.START, m.INCIDENT.until))
    with pytest.raises(WindowError, match="outside the log"):
        localize(bench, metric("ctr"), m.BASELINE, Window(m.START + timedelta(days=90), m.START + timedelta(days=91)))
    with pytest.raises(WindowError, match="backwards"):
        parse_window("2026-03-05..2026-03-02")
    with pytest.raises(WindowError, match="no time"):
        parse_window("yesterday..today")
    with pytest.raises(CannotSayError):
        localize(bench, metric("coverage"), m.BASELINE, m.INCIDENT)


def test_one_complaint_gets_the_cause_and_its_blast_radius(tmp_path, models):
    market = m.Market()
    hit = market.late & (market.channel == 0)
    market.discount = np.where(hit[:, None], 0.25, market.discount)
    bench = m.open_market(tmp_path / "market", market, models)
    complaint = f"q{np.flatnonzero(hit)[50]:05d}"
    answer = diagnose(bench, complaint)
    assert answer.verdict == CAUSE_FOUND
    finding = answer.findings[0]
    assert (finding.component, finding.target, dict(finding.where)) == ("feature", "discount", {"channel": ["app"]})
    assert finding.moved > 0
    assert finding.blast.ongoing
    true = 2 * hit.sum()  # every second request of that channel was kept
    assert finding.blast.requests.low <= true <= finding.blast.requests.high * 1.05
    fine = f"q{np.flatnonzero(market.late & (market.channel == 1))[50]:05d}"
    assert diagnose(bench, fine).verdict == NO_CHANGE
