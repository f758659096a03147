"""Questions that are hard to answer: the answer says so, and nothing breaks."""

import shutil
import tomllib
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
import tomli_w

from diagnosis.errors import CannotSayError, DiagnosisError, MetricError
from diagnosis.localize import CAUSE_FOUND, NO_CHANGE, NOT_ENOUGH_DATA, UNEXPLAINED, Window, localize
from diagnosis.localize.sample import read
from diagnosis.log.filters import parse_filter
from diagnosis.metrics import metric
from diagnosis.reproduce import Workbench

from . import market as m


@pytest.fixture(scope="module")
def models():
    return m.boosters()


def ask(bench, name="ctr", **options):
    return localize(bench, metric(name), m.BASELINE, m.INCIDENT, **options)


def stuck():
    market = m.Market()
    market.discount = np.where((market.late & (market.channel == 0))[:, None], 0.25, market.discount)
    return market


def test_without_a_model_nothing_is_replayed_and_the_symptom_is_still_no_proof(tmp_path, models):
    bench = m.open_market(tmp_path / "market", stuck(), models)
    shutil.rmtree(bench.workspace.models_dir)
    answer = ask(Workbench.open(tmp_path / "market"))
    assert answer.replayable_share == 0.0
    assert answer.unplayed.startswith("None of the requests can be replayed: that takes an admitted model and a ruleset")
    (out,) = [r.reason for r in answer.ruled_out if r.target == "discount"]
    assert out.startswith("for channel ")
    assert out.endswith("; it was not put back, since no request can be replayed")
    assert all(cause.proof != "replay" for cause in answer.causes)


def test_half_of_the_requests_not_replayable_is_said(tmp_path, models):
    market = stuck()
    market.version[::2] = "1"
    bench = m.open_market(tmp_path / "market", market, models)
    shutil.rmtree(bench.workspace.models_dir / "seller" / "1")
    answer = ask(Workbench.open(tmp_path / "market"))
    assert answer.replayable_share == pytest.approx(0.5, abs=0.03)
    assert answer.verdict in (CAUSE_FOUND, NO_CHANGE, UNEXPLAINED)


def test_three_requests_are_not_enough(tmp_path, models):
    market = m.Market(n=3)
    market.day = np.array([0.5, 4.5, 5.0])
    market.late = market.day >= 4
    assert ask(m.open_market(tmp_path / "market", market, models)).verdict == NOT_ENOUGH_DATA


def test_a_slice_that_only_one_window_has_cannot_be_compared(tmp_path, models):
    market = m.Market(n=600)
    market.channel = np.where(market.late, market.channel, 0)
    bench = m.open_market(tmp_path / "market", market, models)
    with pytest.raises(CannotSayError, match="baseline"):
        ask(bench, where=parse_filter("channel=kiosk"))


def test_a_metric_that_one_window_has_nothing_for_cannot_be_said(tmp_path, models):
    market = m.Market(n=600)
    market.status[market.late] = "fallback"  # pages without scores
    bench = m.open_market(tmp_path / "market", market, models)
    with pytest.raises(CannotSayError):
        ask(bench, "score_mean")


def test_a_metric_that_cannot_be_read_is_named(tmp_path, models):
    m.open_market(tmp_path / "market", m.Market(n=200), models)
    file = tmp_path / "market" / "diagnosis.toml"
    settings = tomllib.loads(file.read_text(encoding="utf-8"))
    settings["metrics"] = {"odd": {"value": "nothing_like_it + 1"}}
    file.write_text(tomli_w.dumps(settings), encoding="utf-8")
    again = Workbench.open(tmp_path / "market")
    with pytest.raises((MetricError, DiagnosisError), match=r"odd|nothing_like_it"):
        localize(again, again.metric("odd"), m.BASELINE, m.INCIDENT)


def test_a_window_without_requests_is_refused(tmp_path, models):
    market = m.Market(n=400)
    market.day = np.where(market.late, np.minimum(market.day, 5.0), market.day)
    bench = m.open_market(tmp_path / "market", market, models)
    with pytest.raises(DiagnosisError):
        localize(bench, metric("ctr"), m.BASELINE, Window(m.START + timedelta(days=6), m.START + timedelta(days=7)))


def test_outcomes_of_a_clock_that_runs_ahead_do_not_make_a_cause(tmp_path, models):
    bench = m.open_market(tmp_path / "market", m.Market(), models)
    rows = bench.snapshot.sample(5000)
    assert rows.outcomes.num_rows
    early = pa.array(rows.outcomes.column("happened_at").to_numpy() - np.timedelta64(2, "h")).cast(pa.timestamp("us", "UTC"))
    place = rows.outcomes.schema.get_field_index("happened_at")
    other = m.Workspace.create(tmp_path / "shifted", id="shifted", name="Shifted")
    for part in ("models", "rulesets", "contracts"):
        shutil.copytree(tmp_path / "market" / part, tmp_path / "shifted" / part, dirs_exist_ok=True)
    drop = [t.drop_columns(["date"]) for t in (rows.requests, rows.candidates, rows.outcomes.set_column(place, "happened_at", early))]
    other.append(requests=drop[0], candidates=drop[1], outcomes=drop[2])
    again = Workbench.open(tmp_path / "shifted")
    again.admit()
    answer = ask(again)
    assert answer.verdict == NO_CHANGE
    assert answer.baseline.value == pytest.approx(ask(bench).baseline.value)


def test_an_attribute_with_a_value_for_every_request_makes_no_slices(tmp_path, models):
    bench = m.open_market(tmp_path / "market", m.Market(n=600), models)
    sample = read(bench.snapshot, m.BASELINE, m.INCIDENT)
    batch = sample.batch
    token = pa.array([f"t{i}" for i in range(len(sample))])
    wide = type(batch)(batch.requests.append_column("session", token), batch.candidates, batch.outcomes)
    spread = type(sample)(wide, sample.incident, sample.keep, sample.read, sample.items)
    assert [a.name for a in spread.attributes] == [a.name for a in sample.attributes]


def test_a_metric_of_outcomes_needs_outcomes(tmp_path, models):
    bench = m.open_market(tmp_path / "market", m.Market(n=300), models)
    shutil.rmtree(tmp_path / "market" / "logs" / "outcomes")
    again = Workbench.open(tmp_path / "market")
    assert "outcomes" not in again.snapshot.tables()
    with pytest.raises(CannotSayError, match="counts outcomes"):
        ask(again)
    assert ask(again, "score_mean").verdict == ask(bench, "score_mean").verdict


def test_a_window_without_any_outcome_is_lost_outcomes_and_no_change_of_taste(tmp_path, models):
    market = m.Market()
    market.lost = np.broadcast_to(market.late[:, None], market.item.shape)
    answer = ask(m.open_market(tmp_path / "market", market, models))
    assert [(c.component, c.target, dict(c.where)) for c in answer.causes] == [("logging", "outcomes", {})]
