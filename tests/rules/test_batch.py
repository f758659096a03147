"""Whole batches are ruled as single requests are."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.errors import RulesError
from diagnosis.log import Batch
from diagnosis.log.filters import parse_filter
from diagnosis.rules import Rule, Ruleset, after, before
from diagnosis.rules.batch import Shelf, pages

RULESETS = (
    Ruleset("none"),
    Ruleset("worst first", sort="ascending"),
    Ruleset(
        "everything",
        (
            Rule("young", "filter", "before", parse_filter("age<2")),
            Rule("seen", "filter", "before", replay="logged"),
            Rule("push", "boost", where=parse_filter("kind=a;place=x"), factor=1.5, add=0.3),
            Rule("three", "cap", by="kind", at_most=2),
            Rule("once", "deduplicate", by="maker"),
            Rule("top", "pin", where=parse_filter("kind=c"), position=2),
        ),
    ),
)
ITEMS = pd.DataFrame({"maker": [f"m{i % 5}" for i in range(12)] + [None] * 3}, index=pd.Index([f"i{i}" for i in range(15)], name="item_id"))


def made(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 12, 40)
    owner = np.repeat(np.arange(40), sizes)
    items = np.concatenate([rng.choice(15, n, replace=False) for n in sizes])
    dropped = np.where(rng.random(len(owner)) < 0.1, "seen", None).astype(object)
    dropped[rng.random(len(owner)) < 0.05] = "quota"
    score = np.round(rng.normal(size=len(owner)), 1)
    gone = np.array([d is not None for d in dropped])
    requests = pa.table(
        {
            "request_id": [f"r{i:02d}" for i in range(40)],
            "place": rng.choice(["x", "y"], 40),
            "slots": pa.array([None if i % 9 == 0 else int(rng.integers(1, 8)) for i in range(40)], pa.int64()),
            "keep_probability": np.ones(40),
        }
    )
    candidates = pa.table(
        {
            "request_id": [f"r{i:02d}" for i in owner],
            "item_id": [f"i{i}" for i in items],
            "kind": rng.choice(["a", "b", "c"], len(owner)),
            "age": rng.integers(0, 9, len(owner)),
            "score": pa.array(score, mask=gone),
            "rank": pa.array(rng.permutation(len(owner)) + 1, mask=gone),
            "dropped_by": pa.array(dropped, pa.string()),
        }
    )
    empty = pa.table({"request_id": pa.array([], pa.string()), "item_id": pa.array([], pa.string())})
    return Batch(requests, candidates, empty), score


@pytest.mark.parametrize("ruleset", RULESETS, ids=lambda r: r.version)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_batch_gives_the_pages_of_its_requests(ruleset, seed):
    batch, score = made(seed)
    together = pages(ruleset, Shelf.of(batch, ITEMS), score)
    for i, request_id in enumerate(batch.request_ids):
        request, mine = batch.one(request_id), slice(batch.offsets[i], batch.offsets[i + 1])
        alone = after(ruleset, request, ITEMS, score[mine], before(ruleset, request, ITEMS))
        assert alone.rows["position"].fillna(0).tolist() == together[mine].tolist()


def test_a_rule_over_what_is_nowhere_is_told():
    batch, score = made(0)
    with pytest.raises(RulesError, match="colour"):
        pages(Ruleset("x", (Rule("r", "filter", where=parse_filter("colour=red")),)), Shelf.of(batch, ITEMS), score)
