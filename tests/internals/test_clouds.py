"""Contributions of two windows, counted in cells."""

import numpy as np
import pandas as pd
import pytest

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.internals import cohort
from diagnosis.internals.clouds import CELLS, PLACES, clouds
from diagnosis.log.records import Batch
from diagnosis.models import assemble

from .test_ensemble import table, trained
from .test_kernel import ranker
from .test_shift import window


@pytest.fixture(scope="module")
def model():
    return ranker(trained(table()))


@pytest.fixture(scope="module")
def batches():
    return window(seed=1), window(seed=2, plus=0.7)


@pytest.fixture(scope="module")
def found(model, batches):
    return clouds(model, *batches)


def contributions_of(model, batch, name):
    made = cohort(model, assemble(model.bundle, batch))
    return made.values[:, made.names.index(name)], batch.weights[batch.owner]


def test_cells_hold_every_candidate_once_with_its_weight(found):
    cells = found.swarm(found.names)
    assert np.allclose(cells.groupby(["feature", "window"])["share"].sum(), 1.0)
    assert cells.groupby(["feature", "window"]).size().max() <= CELLS + 2
    widths = (cells["high"] - cells["low"]).to_numpy()
    assert np.allclose(widths, widths[0])


def test_a_cell_counts_what_lies_between_its_ends(model, batches, found):
    cells = found.swarm(("a", "b"))
    values, weight = contributions_of(model, batches[1], "a")
    mine = cells[(cells["feature"] == "a") & (cells["window"] == "incident")]
    for _, cell in mine.iloc[1:-1].iterrows():
        inside = (values >= cell["low"]) & (values < cell["high"])
        assert cell["share"] == pytest.approx(weight[inside].sum() / weight.sum())


def test_the_colour_is_the_rank_of_the_value_among_both_windows(found):
    cells = found.swarm(("a",)).groupby("window")[["share", "value"]].apply(lambda c: np.average(c["value"], weights=c["share"]))
    assert cells["incident"] > cells["baseline"] + 0.1  # a was raised


def test_dependence_gives_the_quantiles_of_each_place(model, batches, found):
    rows = found.dependence("a")
    assert np.allclose(rows.groupby("window")["share"].sum(), 1.0)
    assert rows["order"].nunique() <= PLACES + 1
    values, _ = contributions_of(model, batches[0], "a")
    given = assemble(model.bundle, batches[0])["a"].to_numpy()
    place = rows[(rows["window"] == "baseline") & (rows["order"] == 7)].iloc[0]
    inside = (given >= place["low"]) & (given < place["high"])
    assert values[inside].min() <= place["q10"] <= place["median"] <= place["q90"] <= values[inside].max()
    assert abs((values[inside] <= place["median"]).mean() - 0.5) < 0.2


def test_categories_and_missing_values_have_places_of_their_own():
    from diagnosis.internals.clouds import _categories, _intervals

    texts = [pd.Series(["x", "y", None, "x"], dtype=object), pd.Series(["x", "z"], dtype=object)]
    places = _categories(texts)
    assert places.told[0] == "x"
    assert [places.told[c] for c in places.codes[0]] == ["x", "y", "missing", "x"]
    numbers = _intervals([pd.Series([1.0, np.nan, 2.0]), pd.Series([2.0])])
    assert [numbers.told[c] for c in numbers.codes[0]] == ["1", "missing", "2"]


def test_more_categories_than_places_are_counted_together():
    from diagnosis.internals.clouds import _categories

    many = pd.Series([f"c{i // 3:02d}" for i in range(90)] + ["c00"], dtype=object)
    places = _categories([many, many])
    assert len(places.told) == PLACES + 2
    assert (places.codes[0] == PLACES).sum() == 3 * (30 - PLACES)


def test_a_window_without_candidates_and_an_unknown_feature_are_refused(model, batches, found):
    empty = Batch(batches[0].requests.slice(0, 0), batches[0].candidates.slice(0, 0), batches[0].outcomes)
    with pytest.raises(CannotSayError, match="no candidates"):
        clouds(model, batches[0], empty)
    with pytest.raises(NotFoundError, match="zz"):
        found.dependence("zz")
    with pytest.raises(NotFoundError, match="zz"):
        found.swarm(("zz",))
