"""Candidates as suspects, on crowds whose candidates are planted."""

import numpy as np
import pandas as pd
import pytest

from diagnosis.localize.composition import Loan, dropped, flood, with_donors, young_items
from tests.localize.crowd import DAY_S, START, crowd

NAMES = [f"i{k}" for k in range(20)]
SHAPES = ["round" if k < 10 else "square" for k in range(20)]


def shelf(launched):
    return pd.DataFrame({"shape": SHAPES, "launched_at": pd.to_datetime(launched, utc=True)}, index=pd.Index(NAMES, name="item_id"))


def old():
    return shelf([START - pd.Timedelta(days=60 + k) for k in range(20)])


def nearby(stops):
    """Retriever `near` proposes what is even; `stops(at, place)` says where it is silent."""

    def made(at, chosen):
        silent = stops(at[:, None], chosen)
        return [["near", "wide"] if i % 2 == 0 and not s else ["wide"] for i, s in zip(chosen.ravel(), silent.ravel(), strict=True)]

    return made


def test_a_retriever_that_stops_proposing_one_kind_of_item_is_named_with_the_kind():
    sample = crowd(n=8000, width=8, items=old(), retrievers=nearby(lambda at, chosen: (at >= 4) & (chosen < 10)))
    found = dropped(sample)
    assert [(s.component, s.target, s.where) for s, _ in found] == [("candidates", "near", {"shape": ["round"]})]
    suspect, loan = found[0]
    assert suspect.since == pytest.approx(sample.time[sample.incident].min(), abs=3600)
    assert set(np.array(sample.batch.candidates.column("item_id"))[loan.lent]) <= {f"i{k}" for k in range(0, 10, 2)}


def test_a_retriever_that_proposes_half_of_what_it_did_hits_every_request():
    luck = np.random.default_rng(2).random((4000, 18))
    sample = crowd(n=4000, width=18, items=old(), retrievers=nearby(lambda at, chosen: (at >= 4) & (luck < 0.6)))
    ((suspect, _),) = dropped(sample)
    assert (suspect.target, suspect.where) == ("near", {})
    assert suspect.hit[sample.incident].mean() > 0.95


def test_a_retriever_that_dwindles_day_by_day_is_no_suspect():
    luck = np.random.default_rng(1).random((8000, 8))
    sample = crowd(n=8000, width=8, items=old(), retrievers=nearby(lambda at, chosen: luck < at / 10))
    assert dropped(sample) == []


def test_retrievers_as_usual_are_no_suspects():
    assert dropped(crowd(n=8000, width=8, items=old(), retrievers=nearby(lambda at, chosen: (at < 0) & (chosen < 0)))) == []


def test_items_in_their_first_week_are_told_by_their_launch():
    launched = [START - pd.Timedelta(days=6)] + [START + pd.Timedelta(days=30)] + [START - pd.Timedelta(days=60)] * 17 + [pd.NaT]
    sample = crowd(n=400, items=shelf(launched))
    young = young_items(sample)
    items = np.array(sample.batch.candidates.column("item_id"))
    early = (sample.time[sample.owner] - sample.time.min()) < 0.9 * DAY_S
    assert young[(items == "i0") & early].all()
    assert not young[items != "i0"].any()


def test_launches_that_flood_the_candidates_are_a_suspect_and_usual_ones_are_not():
    months = [START - pd.Timedelta(days=9 * k + 10) for k in range(14)]
    flooded = shelf([START + pd.Timedelta(days=4, minutes=k) for k in range(6)] + months)
    (suspect, loan), *others = flood(crowd(n=8000, items=flooded))
    assert (suspect.target, others) == ("launches", [])
    assert loan.gone is not None
    assert loan.gone.sum() > 0
    usual = shelf([START + pd.Timedelta(days=k) for k in range(-30, 6, 2)][:18] + months[:2])
    assert flood(crowd(n=8000, items=usual)) == []


def test_borrowed_candidates_come_from_the_baseline_and_are_not_there_twice():
    sample = crowd(n=2000, width=6, items=old())
    items = np.array(sample.batch.candidates.column("item_id"))
    lent = np.isin(items, ["i0", "i2"])
    hit = np.flatnonzero(sample.incident)[:50]
    part, fresh, gone = with_donors(sample, hit, Loan(lent))
    ids, owner = np.array(part.batch.candidates.column("item_id")), part.owner
    assert len(part) == 50
    assert fresh.sum() > 0
    assert not gone.any()
    assert set(ids[fresh]) <= {"i0", "i2"}
    assert len({(o, i) for o, i in zip(owner, ids, strict=True)}) == len(ids)
    assert part.batch.candidates.column("score").to_numpy(zero_copy_only=False)[fresh].tolist() != [0.0] * int(fresh.sum())
    assert np.isnan(part.batch.candidates.column("score").to_numpy(zero_copy_only=False)[fresh]).all()


def test_as_many_are_borrowed_as_go():
    sample = crowd(n=2000, width=6, items=old())
    items = np.array(sample.batch.candidates.column("item_id"))
    gone = np.isin(items, ["i1", "i3"])
    hit = np.flatnonzero(sample.incident)[:80]
    part, fresh, left = with_donors(sample, hit, Loan(~gone, gone))
    assert left.sum() == gone[np.isin(sample.owner, hit)].sum()
    borrowed, lost = np.bincount(part.owner[fresh], minlength=80), np.bincount(part.owner[left], minlength=80)
    assert (borrowed <= lost).all()
    assert borrowed.sum() > 0.8 * lost.sum()
