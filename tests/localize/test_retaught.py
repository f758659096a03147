"""Training data as the cause, tried by training anew without the rows in doubt."""

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.localize import CAUSE_FOUND, localize
from diagnosis.metrics import metric

from . import market as m

lightgbm = pytest.importorskip("lightgbm")


def taught(lost, seed=99):
    """A model and its rows; with `lost`, the new feed, through which most large discounts come, loses its labels."""
    school = m.Market(seed=seed, n=2500)
    rng = np.random.default_rng(7)
    label = (school.luck < 1 / (1 + np.exp(-school.worth))).ravel()
    feed = rng.random(len(label)) < np.where(school.discount.ravel() > 0.6, 0.9, 0.05)
    label = (label & ~(feed & lost)).astype(float)
    options = {"objective": "binary", "num_leaves": 12, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 40, "deterministic": True}
    data = lightgbm.Dataset(school.matrix(), label, feature_name=["discount", "fit", "kind"], categorical_feature=[2])
    table = {
        "discount": school.discount.ravel(),
        "fit": school.fit.ravel(),
        "kind": np.array(m.KINDS, dtype=object)[school.kind.ravel()],
        "feed": np.where(feed, "new", "old").astype(object),
        "label": label,
    }
    return lightgbm.train(options, data, 40), pa.table(table)


@pytest.fixture(scope="module")
def taught_twice():
    good, bad = taught(False), taught(True)
    return {"2": good[0], "3": bad[0]}, {"2": good[1], "3": bad[1]}


def asked(folder, models, training):
    market = m.Market()
    market.version = np.where(market.late, "3", "2").astype(object)
    bench = m.open_market(folder, market, models, training)
    answer = localize(bench, metric("ctr"), m.BASELINE, m.INCIDENT)
    assert answer.verdict == CAUSE_FOUND, answer.reason
    return answer.causes[0]


def test_lost_labels_are_proved_by_training_anew_without_them(tmp_path, taught_twice):
    models, training = taught_twice
    cause = asked(tmp_path / "market", models, training)
    assert (cause.component, cause.target) == ("training_data", "new")
    text = cause.evidence[-1].text
    count = int((np.array(training["3"].column("feed")) == "new").sum())
    assert text.startswith(
        f"Trained anew on 30,000 training rows without the {count:,} rows of feed new, the same way otherwise, and replayed: "
    )
    assert 60 < float(text.split("replayed: ")[1].split("%")[0]) < 120  # of the movement comes back
    assert text.endswith("training anew with them 0%.")


def test_rows_that_cannot_be_trained_on_are_said(tmp_path, taught_twice):
    models, training = taught_twice
    halves = dict(training)
    halves["3"] = halves["3"].filter(pa.array(np.array(halves["3"].column("feed")) == "new")).slice(0, 150)
    old = halves["3"].set_column(3, "feed", pa.array(["old"] * 150)).set_column(4, "label", pa.array(np.arange(150) % 2.0))
    halves["3"] = pa.concat_tables([halves["3"], old])
    cause = asked(tmp_path / "market", models, halves)
    assert cause.component == "training_data"
    assert cause.evidence[-1].text == "Not tried by training anew: Only 150 training rows are left, or all have the same label."
