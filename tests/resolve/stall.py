"""The market with two tasks, two environments and retrievers: where fixes are rehearsed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from tests.localize import market as m

TASKS, PLACES = ("browse", "gift"), ("north", "south")


def tasks_of(market):
    """Two requests in three browse."""
    return np.arange(market.n) % 3 == 0


def open_stall(folder, market, models):
    """Serve the market's pages and write them down, with tasks, environments and retrievers."""
    pages = m.served(market, models, market.spoil.get("scored_by", market.version))
    workspace = Workspace.create(folder, id="stall", name="Stall")
    m.write_files(workspace, models)
    ids = np.array([f"q{i:05d}" for i in range(market.n)], dtype=object)
    at = np.datetime64(m.START.replace(tzinfo=None), "us") + (market.day * 86400e6).astype("timedelta64[us]")
    items = np.array([f"i{i}" for i in market.item.ravel()], dtype=object)
    requests = m.requests_of(market, ids, at)
    requests = requests.set_column(2, "task", pa.array(np.where(tasks_of(market), *TASKS[::-1])))
    requests = requests.append_column("environment", pa.array(np.array(PLACES, dtype=object)[np.arange(market.n) % 2]))
    requests = requests.append_column("latency_ms", pa.array(np.where(market.version == "1", 20.0, 30.0)))
    requests = requests.append_column("fallback", pa.array(np.where(market.status == "fallback", "popular", None)))
    candidates = m.candidates_of(market, pages, ids, items)
    sources = np.where((market.item % 5 == 0).ravel()[:, None], [["new", "old"]], [["old", "old"]])
    retrievers = [["old"] if a == b else (["new"] if i % 2 else ["new", "old"]) for i, (a, b) in enumerate(sources)]
    candidates = candidates.append_column("retrievers", pa.array(retrievers, pa.list_(pa.string())))
    candidates = candidates.append_column("heat", pa.array((market.item % 7 + market.luck * 0.1).ravel()))
    workspace.append(requests=requests, candidates=candidates, outcomes=m.outcomes_of(pages, ids, at, items))
    bench = Workbench.open(folder)
    bench.admit()
    return bench


def shuffled_in_browse(n=3000):
    """Discounts are noise in one task of the incident; and every tenth request of one channel is answered by a fallback."""
    market = m.Market(n=n)
    market.true = market.discount.copy()
    hit = market.late & ~tasks_of(market)
    market.discount = np.where(hit[:, None], np.random.default_rng(1).random(market.discount.shape), market.discount)
    market.status = np.where((np.arange(n) % 10 == 0) & (market.channel == 2), "fallback", "ok").astype(object)
    return market
