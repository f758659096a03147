"""Where features come from, learned from the log of the shop; and what a new candidate is given."""

import numpy as np
import pytest

from diagnosis.predict.donors import donors, drawn
from diagnosis.predict.entrant import entrant, neighbours
from diagnosis.predict.launching import catalogue
from diagnosis.predict.material import gather
from diagnosis.predict.sources import learn


@pytest.fixture(scope="module")
def material(shop):
    return gather(shop, catalogue(shop), most=2500)


@pytest.fixture(scope="module")
def sources(material):
    return {source.column: source for source in learn(material)}


def test_every_kind_of_source_is_told_apart(sources):
    found = {name: (source.kind, source.by) for name, source in sources.items()}
    assert found == {
        "grade": ("attribute", "grade"),
        "kind": ("attribute", "kind"),
        "fit": ("shared", "kind"),
        "sold_lately": ("item", ""),
        "days_on_sale": ("age", ""),
    }


def test_a_new_candidate_has_its_own_attributes_and_the_members_fit_for_its_kind(material, sources):
    at, day = np.arange(200), np.zeros(200, dtype=np.int64)
    lenders = donors(material)
    made = entrant(material, list(sources.values()), "plain-lamp", at, day, lenders, drawn(material, lenders, "plain-lamp", 200))
    assert set(made["kind"]) == {"lamp"}
    assert np.allclose(made["grade"], 0.55)
    assert set(made["days_on_sale"]) == {0.0}
    owner, kind, fit = material.owner, material.values("kind"), material.values("fit")
    for k in range(200):
        lamps = np.flatnonzero((owner == k) & (kind == "lamp"))
        if len(lamps):
            assert made["fit"][k] == fit[lamps[0]]


def test_an_attribute_that_is_not_said_is_missing(material, sources):
    at, day = np.arange(20), np.zeros(20, dtype=np.int64)
    lenders = donors(material)
    made = entrant(material, list(sources.values()), "blank", at, day, lenders, np.zeros(20, dtype=np.int64))
    assert np.isnan(made["grade"]).all()


def test_counted_features_are_those_of_donors_of_that_age(material, sources):
    at, day = np.arange(300), np.full(300, 5)
    lenders = donors(material)
    made = entrant(material, list(sources.values()), "plain-lamp", at, day, lenders, np.arange(300) % len(lenders.items))
    rows = np.flatnonzero(np.floor(material.age) == 5)
    assert set(made["sold_lately"]) <= set(material.values("sold_lately")[rows])


def test_neighbours_are_other_items(material):
    codes, names = material.item
    rows = neighbours(material, "i079", "kind", np.arange(500), np.linspace(0, 0.99, 500))
    assert names.index("i079") not in set(codes[rows])


def test_donors_are_young(material):
    lenders = donors(material)
    assert lenders.young
    assert all(material.age[row] < 7 and material.age[row] >= 0 for item in lenders.rows for rows in item for row in rows[:2])
