"""A kiosk without a model: some days of requests of three candidates each, and what a test spoils."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from diagnosis.store import Workspace

FIRST = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
HOUR, WIDTH = 3600, 3
PLACES = ("north", "south", "east")


def hour(n):
    return FIRST + timedelta(hours=n)


def rows(first, until, *, seed=0, per_hour=60, chance=None, failing=None, price=None, quiet=(), prefix="r"):
    """Tables of the hours ``first <= hour < until``.

    `chance`, `failing` and `price` are functions of hour and place (arrays) that give the chance of a click, of an error, and the price.
    """
    rng = np.random.default_rng([seed, first])
    n = per_hour * (until - first)
    seconds = np.sort(rng.integers(first * HOUR, until * HOUR, n))
    at = seconds // HOUR
    kept = ~np.isin(at, list(quiet))
    seconds, at, n = seconds[kept], at[kept], int(kept.sum())
    place = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    ids = np.array([f"{prefix}{first}-{i}" for i in range(n)], dtype=object)
    times = np.datetime64(FIRST.replace(tzinfo=None), "us") + (seconds * 10**6).astype("timedelta64[us]")
    keep = np.where(place == 2, 1.0, 0.5)
    broken = rng.random(n) < (np.zeros(n) + 0.02 if failing is None else failing(at, place))
    requests = pa.table(
        {
            "request_id": ids,
            "served_at": pa.array(times).cast(pa.timestamp("us", "UTC")),
            "task": pa.array(np.where(rng.random(n) < 0.7, "home", "search")),
            "status": np.where(broken, "error", "ok"),
            "member": [f"m{i}" for i in rng.integers(0, 500, n)],
            "place": np.array(PLACES, dtype=object)[place],
            "latency_ms": rng.lognormal(3, 0.4, n),
            "keep_probability": keep,
        }
    )
    owner = np.repeat(np.arange(n), WIDTH)
    cost = rng.normal(10, 2, n * WIDTH) if price is None else price(at[owner], place[owner]) + rng.normal(0, 2, n * WIDTH)
    candidates = pa.table(
        {
            "request_id": ids[owner],
            "item_id": np.array([f"i{k}" for k in rng.integers(0, 100, n * WIDTH) + 100 * np.tile([0, 1, 2], n)], dtype=object),
            "price": cost,
            "score": rng.normal(0, 1, n * WIDTH),
            "rank": np.tile([1, 2, 3], n),
            "position": pa.array(np.tile([1, 2, 0], n), mask=np.tile([False, False, True], n)),
        }
    )
    clicks = (np.tile([1, 2, 0], n) > 0) & (rng.random(n * WIDTH) < (0.2 if chance is None else chance(at[owner], place[owner])))
    happened = (times[owner] + np.timedelta64(20, "s"))[clicks]
    outcomes = pa.table(
        {
            "request_id": ids[owner][clicks],
            "item_id": candidates.column("item_id").to_numpy()[clicks],
            "event": ["click"] * int(clicks.sum()),
            "happened_at": pa.array(happened).cast(pa.timestamp("us", "UTC")),
            "date": pa.array(happened.astype("datetime64[D]")),
        }
    )
    return requests, candidates, outcomes


def kiosk(folder, until=10 * 24, *, settings=None, **spoiled):
    """The workspace of the hours before `until`."""
    made = Workspace.create(folder, id="kiosk", attribution_time_s=3600.0, **(settings or {}))
    requests, candidates, outcomes = rows(0, until, **spoiled)
    made.append(requests=requests, candidates=candidates, outcomes=outcomes.drop_columns(["date"]))
    return Workspace.open(folder)


def more(workspace, first, until, **spoiled):
    requests, candidates, outcomes = rows(first, until, **spoiled)
    workspace.append(requests=requests, candidates=candidates, outcomes=outcomes.drop_columns(["date"]))
