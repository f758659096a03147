"""What made requests slower, planted in a market that says how it served them."""

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError, MissingColumnError
from diagnosis.localize import CAUSE_FOUND, NO_CHANGE, UNEXPLAINED, Cancelled, localize
from diagnosis.localize.different import different
from diagnosis.metrics import metric

from . import market as m


@pytest.fixture(scope="module")
def models():
    return m.boosters()


@pytest.fixture
def ask(tmp_path, models):
    def asked(market, name="latency_p95", **options):
        return localize(m.open_market(tmp_path / "market", market, models), metric(name), m.BASELINE, m.INCIDENT, **options)

    return asked


def timed(more=0.0, **spoiled):
    """A market whose requests take about 50 ms, and some of them more."""
    market = m.Market()
    for name, value in spoiled.items():
        setattr(market, name, value)
    usual = 50 * np.exp(0.3 * np.random.default_rng(4).normal(size=market.n))
    market.of_requests["latency_ms"] = usual + more
    return market


def late_in(channel):
    market = m.Market()
    return market.late & (market.channel == channel)


def test_requests_as_fast_as_ever_are_no_change(ask):
    answer = ask(timed())
    assert answer.verdict == NO_CHANGE, answer.reason
    assert answer.unit == "ms"
    assert answer.baseline.low < 50 * np.exp(0.3 * 1.645) < answer.baseline.high


def test_a_status_that_takes_longer_is_the_cause_where_it_is(ask):
    hit = late_in(0)
    answer = ask(timed(np.where(hit, 60.0, 0.0), status=np.where(hit, "fallback", "ok").astype(object)))
    assert answer.verdict == CAUSE_FOUND, answer.reason
    cause = answer.causes[0]
    assert (cause.component, cause.target, dict(cause.where), cause.proof) == ("serving", "fallback", {"channel": ["app"]}, "statistical")
    assert cause.explains == pytest.approx(1.0, abs=0.15)
    assert cause.effect == pytest.approx(answer.incident.value - answer.baseline.value, rel=0.2)
    assert abs((cause.since - m.INCIDENT.since).total_seconds()) < 3600
    assert answer.metric == "latency_p95"


def test_a_code_version_is_the_cause_and_not_the_model_beside_it(ask):
    hit = late_in(1)
    market = timed(np.where(hit, 50.0, 0.0), version=np.where(m.Market().late & (np.arange(3000) % 2 == 0), "1", "2").astype(object))
    market.of_requests["code_version"] = np.where(hit, "c2", "c1").astype(object)
    answer = ask(market)
    assert answer.verdict == CAUSE_FOUND, answer.reason
    assert [(c.component, c.target) for c in answer.causes] == [("serving", "c2")]
    assert any(r.target == "1" for r in answer.ruled_out)


def test_changes_that_serve_the_same_requests_are_both_named(ask):
    hit = late_in(1)
    market = timed(np.where(hit, 50.0, 0.0), version=np.where(hit, "1", "2").astype(object))
    market.of_requests["code_version"] = np.where(hit, "c2", "c1").astype(object)
    answer = ask(market)
    (cause,) = answer.causes
    other = {"c2": "model: 1", "1": "serving: c2"}[cause.target]
    assert f"Cannot be told from {other}, which serves the same requests." in [e.text for e in cause.evidence]
    assert cause.explains == pytest.approx(1.0, abs=0.15)


def test_a_retriever_that_is_asked_more_is_the_cause(ask):
    market = m.Market()
    hit = market.late & (np.random.default_rng(2).random(market.n) < 0.5)
    slow = timed(np.where(hit, 40.0, 0.0))
    lists = [["near", "graph"] if h else ["near"] for h in np.repeat(hit, m.WIDTH)]
    slow.of_candidates["retrievers"] = pa.array(lists, pa.list_(pa.string()))
    answer = ask(slow)
    assert (answer.causes[0].component, answer.causes[0].target) == ("candidates", "graph"), answer.reason


def test_slower_requests_without_any_change_are_unexplained_and_where_is_told(ask):
    answer = ask(timed(np.where(late_in(1), 60.0, 0.0)))
    assert answer.verdict == UNEXPLAINED, answer.reason
    assert [dict(s.where) for s in answer.slices] == [{"channel": ("site",)}]
    assert "quantile went from" in answer.reason


def test_more_of_a_slow_channel_is_traffic(ask):
    market = m.Market()
    rng = np.random.default_rng(8)
    market.channel = np.where(market.late, rng.choice(3, market.n, p=[0.5, 0.1, 0.4]), rng.choice(3, market.n, p=[0.5, 0.4, 0.1]))
    market.of_requests["latency_ms"] = 50 * np.exp(0.3 * rng.normal(size=market.n)) + np.where(market.channel == 2, 60.0, 0.0)
    answer = ask(market)
    assert (answer.causes[0].component, answer.causes[0].target) == ("traffic", "channel"), answer.reason


def test_attributes_are_compared_by_the_share_that_is_slower(tmp_path, models):
    bench = m.open_market(tmp_path / "market", timed(np.where(late_in(1), 60.0, 0.0)), models)
    found = different(bench, metric("latency_p95"), m.BASELINE, m.INCIDENT)
    assert found.metric.name.startswith("the share of requests slower than 8")
    rows = found.rows[found.rows["attribute"] == "channel"].set_index("value")
    assert rows.loc["site", "change_z"] > 5
    assert rows.loc["site", "after"] > 0.5
    assert found.attributes.index[0] == "channel"


def test_what_cannot_be_asked_is_said(ask, tmp_path, models):
    with pytest.raises(MissingColumnError, match="latency_ms"):
        ask(m.Market(n=200))
    bench = m.open_market(tmp_path / "other", timed(), models)
    with pytest.raises(CannotSayError, match="no sum over requests"):
        localize(bench, metric("coverage"), m.BASELINE, m.INCIDENT)
    with pytest.raises(Cancelled):
        localize(bench, metric("latency_p95"), m.BASELINE, m.INCIDENT, cancelled=lambda: True)
