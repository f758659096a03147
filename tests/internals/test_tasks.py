"""Two versions judged by outcomes, task by task."""

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.internals.tasks import by_task
from diagnosis.testing import LinearModel, make_batch, make_request

OLD, NEW = LinearModel(x=1.0, z=0.0, version="1"), LinearModel(x=0.0, z=1.0, version="2")


def page(name, task, served, clicked, x, z, keep=1.0):
    """A page of which one place was clicked."""
    one = make_request(name, request={"task": task, "model_version": served, "keep_probability": keep}, position=[1, 2, 3], x=x, z=z)
    hit = pa.table({"request_id": [name], "item_id": ["abc"[clicked]], "event": ["click"]})
    return type(one)(one.row, one.requests, one.table, hit)


def pages(n=120, *, home=1.0, search=-1.0, served=("1", "2"), seed=0):
    """On the homepage z tells the click as far as `home` says, in search as far as `search` does; x is noise."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        task, by = ("home", "search")[i % 2], served[i // 2 % len(served)]
        clicked = int(rng.integers(3))
        z = rng.normal(size=3) + (home if task == "home" else search) * (np.arange(3) == clicked)
        made.append(page(f"r{i:04d}", task, by, clicked, rng.normal(size=3).tolist(), z.tolist()))
    return make_batch(*made)


def test_ndcg_is_that_of_the_book():
    found = by_task(OLD, NEW, make_batch(page("r1", "home", "3", 1, [3.0, 2.0, 1.0], [1.0, 3.0, 2.0])))
    assert found.rows.loc["home", ["before", "after"]].tolist() == pytest.approx([1 / np.log2(3), 1.0])
    assert found.rows.loc["home", "verdict"] == "not enough data"


def test_a_version_that_helps_one_task_and_harms_another_is_seen():
    found = by_task(OLD, NEW, pages(800, home=2.0, search=-2.0))
    assert found.rows["verdict"].to_dict() == {"search": "harms", "home": "helps"}
    assert found.crossed
    assert found.sentence.startswith("2 harms search and helps home, against 1 (")


def test_versions_that_know_as_little_are_not_told_apart():
    verdicts = [by_task(OLD, NEW, pages(home=0.0, search=0.0, seed=s)).rows["verdict"].tolist() for s in range(100, 120)]
    assert sum(set(both) != {"no difference seen"} for both in verdicts) <= 2  # one of twenty worlds, by the level


def test_the_same_version_twice_changes_nothing():
    found = by_task(OLD, OLD, pages())
    assert found.rows["change"].tolist() == [0.0, 0.0]
    assert found.sentence.startswith("No task is seen to gain or lose")


def test_pages_favour_who_served_them_so_a_gain_on_ones_own_proves_nothing():
    found = by_task(OLD, NEW, pages(400, home=3.0, search=-3.0, served=("2",)))
    assert found.rows["verdict"].to_dict() == {"search": "harms", "home": "favoured by its own pages"}
    both = by_task(OLD, NEW, pages(400, home=3.0, search=3.0, served=("2",)))
    assert both.sentence.startswith("Only one of 1 and 2 served these pages, which favours it")


def test_pages_of_either_count_one_half_where_both_served():
    many, few = pages(120, home=2.0, served=("1",)), pages(60, home=-2.0, served=("2",), seed=1)
    ids = [f"s{i:04d}" for i in range(60)]
    renamed = [page(ids[i], "home" if i % 2 == 0 else "search", "2", 0, [0.0, 1.0, 2.0], [0.0, 1.0, 2.0]) for i in range(60)]
    parts = [by_task(OLD, NEW, b).rows.loc["home", "change"] for b in (many, make_batch(*renamed))]
    together = make_batch(*(many.one(i) for i in many.request_ids), *renamed)
    assert by_task(OLD, NEW, together).rows.loc["home", "change"] == pytest.approx(sum(parts) / 2)
    assert len(few) == 60


def test_weights_count():
    one, two = (page(n, "home", "3", c, [3.0, 2.0, 1.0], [1.0, 3.0, 2.0], keep) for n, c, keep in (("r1", 1, 0.25), ("r2", 0, 1.0)))
    found = by_task(OLD, NEW, make_batch(one, two))
    assert found.rows.loc["home", "before"] == pytest.approx((4 / np.log2(3) + 1) / 5)


def test_pages_without_outcomes_say_so():
    with pytest.raises(CannotSayError, match="positive event"):
        by_task(OLD, NEW, make_batch(make_request(position=[1, 2], x=[1.0, 2.0], z=[1.0, 2.0])))
    with pytest.raises(CannotSayError, match="no column position"):
        by_task(OLD, NEW, make_batch(make_request(x=[1.0, 2.0], z=[1.0, 2.0])))
