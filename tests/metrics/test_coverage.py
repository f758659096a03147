"""Every metric is held to the truth: the full traffic of a simulated workspace, of which two thousand samples are drawn as it samples."""

from dataclasses import replace

import numpy as np
import pytest

from diagnosis import estimate
from diagnosis.log.records import Batch
from diagnosis.metrics import metric, per_request
from sample_data.build import Simulation
from sample_data.features import make_candidates
from sample_data.serve import make_plan, serve
from sample_data.twins import twins
from sample_data.write import candidates_of, outcomes_of, requests_of

SAMPLES = 2000
NAMES = (
    "ctr",
    "ndcg@5",
    "mrr",
    "mrr_clicked",
    "score_mean",
    "exposure:genre=drama",
    "success:genre=drama",
    "diversity:genre",
    "rank_churn",
)


@pytest.fixture(scope="module")
def full():
    """All requests of a small streaming service, as the log would hold them if it kept every one."""
    twin = twins(4, 1500, 6)
    world, everything = twin.log.world, twin.log.everything
    plan = make_plan(everything, make_candidates(world, twin.history, everything, twin.seed))
    log = replace(twin.log, traffic=everything, served=serve(world, everything, plan, twin.log.files.models, twin.log.files.rulesets))
    simulation = Simulation("clean", replace(twin, log=log), log)
    return Batch(requests_of(simulation), candidates_of(simulation), outcomes_of(simulation))


@pytest.fixture(scope="module")
def samples(full):
    """Rows of each sample: every request is kept by chance, with the probability of its stratum."""
    keep, rng = full.requests.column("keep_probability").to_numpy(), np.random.default_rng(0)
    assert len(np.unique(keep)) > 1
    return [np.flatnonzero(rng.random(len(keep)) < keep) for _ in range(SAMPLES)]


def held(found, truth):
    values, inside = np.array([f.value for f in found]), np.mean([f.low <= truth <= f.high for f in found])
    assert 0.93 <= inside <= 0.97, inside
    assert abs(values.mean() - truth) < 0.1 * values.std()


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_of_a_sample_is_that_of_the_full_traffic(full, samples, name):
    asked = metric(name)
    parts, keep = per_request(asked, full), full.requests.column("keep_probability").to_numpy()
    share, top, bottom = asked.unit == "share", parts.numerator, parts.denominator
    held([estimate.ratio(top[r], bottom[r], keep[r], share=share) for r in samples], top.sum() / bottom.sum())


def test_the_latency_of_a_sample_is_that_of_the_full_traffic(full, samples):
    latency, keep = full.requests.column("latency_ms").to_numpy(), full.requests.column("keep_probability").to_numpy()
    truth = np.quantile(latency, 0.95, method="inverted_cdf")
    held([estimate.quantile(latency[r], keep[r], 0.95) for r in samples], truth)


def test_how_many_requests_a_sample_stands_for_is_how_many_there_were(full, samples):
    keep = full.requests.column("keep_probability").to_numpy()
    held([estimate.count(keep[r]) for r in samples], len(full))
