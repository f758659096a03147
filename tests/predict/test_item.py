"""One item against items of its age and kind, in a shop window that is counted by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.predict.item import item_view
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace

START = datetime(2026, 4, 6, tzinfo=UTC)
DAYS, A_DAY, ITEMS = 12, 240, 24
UTC_US = pa.timestamp("us", "UTC")


def window(folder, *, young=(), gone=(), since=9, title="plain"):
    """Every request shows four of 24 items in turn; `gone` are no longer shown from a day on; `young` launched on day one, at one o'clock."""
    rng = np.random.default_rng(0)
    at, ids, rows = [], [], []
    for day in range(DAYS):
        for k in range(A_DAY):
            request = f"q{day:02d}{k:03d}"
            at.append(START + timedelta(days=day, seconds=86400 * k / A_DAY))
            ids.append(request)
            there = [i for i in range(ITEMS) if not (i in gone and day >= since) and not (i in young and day < 1)]
            chosen = rng.choice(there, 6, replace=False)
            rows += [(request, f"i{i:02d}", place + 1 if place < 4 else None) for place, i in enumerate(chosen)]
    workspace = Workspace.create(folder, id="window", name="Window")
    launched = [START + timedelta(days=1) if i in young else START - timedelta(days=90) for i in range(ITEMS)]
    workspace.replace(
        "items",
        pa.table(
            {
                "item_id": [f"i{i:02d}" for i in range(ITEMS)],
                "title": [f"{title} {i}" for i in range(ITEMS)],
                "launched_at": pa.array(launched, UTC_US),
                "kind": ["lamp" if i < 12 else "rug" for i in range(ITEMS)],
            }
        ),
    )
    request, item, position = zip(*rows, strict=True)
    hit = [k for k in range(len(rows)) if position[k] == 1 and k % 3 == 0]
    workspace.append(
        requests=pa.table(
            {
                "request_id": ids,
                "served_at": pa.array(at, UTC_US),
                "task": ["browse"] * len(ids),
                "status": ["ok"] * len(ids),
                "keep_probability": [0.5] * len(ids),
            }
        ),
        candidates=pa.table(
            {
                "request_id": request,
                "item_id": item,
                "position": pa.array(position, pa.int64()),
                "retrievers": [["near"]] * len(rows),
                "dropped_by": [None if p else "slots" for p in position],
            }
        ),
        outcomes=pa.table(
            {
                "request_id": [request[k] for k in hit],
                "item_id": [item[k] for k in hit],
                "event": ["click"] * len(hit),
                "happened_at": pa.array([START + timedelta(days=DAYS)] * 0 + [at[ids.index(request[k])] for k in hit], UTC_US),
            }
        ),
    )
    return Workbench.open(folder)


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    return window(tmp_path_factory.mktemp("still") / "w")


def test_where_nothing_happened_nothing_is_reported(still):
    verdicts = [item_view(still, f"i{i:02d}").alone.verdict for i in range(0, ITEMS, 3)]
    assert set(verdicts) == {"no_change"}


def test_an_item_that_is_gone_alone_is_said_to_be(tmp_path):
    found = item_view(window(tmp_path / "w", gone=(3,)), "i03").alone
    assert found.verdict == "this_item_only"
    assert found.change < 0.1
    assert found.like_change == pytest.approx(1.0, abs=0.2)


def test_a_kind_that_is_gone_is_not_one_item(tmp_path):
    bench = window(tmp_path / "w", gone=tuple(range(12)))
    assert item_view(bench, "i03").alone.verdict == "all_like_it"


def test_days_shares_and_stages_are_counted(still):
    found = item_view(still, "i05")
    assert len(found.days) == DAYS
    assert found.days["share"].mean() == pytest.approx(1 / ITEMS, rel=0.15)
    assert (found.days["low"] <= found.days["share"]).all()
    stage = found.funnel.groupby("stage")["share"].mean()
    assert stage["retrieved"] == pytest.approx(6 / ITEMS, rel=0.15)
    assert stage["shown"] == pytest.approx(4 / ITEMS, rel=0.15)
    assert found.dropped["by"].tolist() == ["slots"]
    assert found.dropped["share"][0] == pytest.approx(2 / 6, abs=0.05)
    assert found.retrievers["retriever"].tolist() == ["near"]
    assert found.tasks["task"].tolist() == ["browse"]


def test_a_young_item_is_held_against_young_ones_at_the_same_age(tmp_path):
    found = item_view(window(tmp_path / "w", young=(1, 2, 3, 4, 5)), "i01")
    assert found.days["day"].tolist() == list(range(DAYS - 1))
    assert set(found.like) == {"i02", "i03", "i04", "i05"}
    assert found.cold_start_days < 5
    assert found.days["usual"].notna().all()


def test_an_unknown_item_is_not_found(still):
    with pytest.raises(NotFoundError):
        item_view(still, "i99")


def test_an_item_is_found_by_title(still):
    assert item_view(still, "plain 7").item == "i07"


def test_without_items_nothing_can_be_said(tmp_path):
    Workspace.create(tmp_path / "w", id="w")
    with pytest.raises(CannotSayError):
        item_view(Workbench.open(tmp_path / "w"), "i01")
