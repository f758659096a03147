"""A small shop with planted launches: nothing in it is named as the sample workspace names things."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diagnosis.models import Bundle, Feature, write_bundle
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS, REQUESTS, SLOTS, OLD, EARLIER = 14, 5000, 4, 50, 30
KINDS = ("lamp", "chair", "rug")
FEATURES = (
    Feature("grade", "candidates.grade"),
    Feature("fit", "candidates.fit"),
    Feature("sold_lately", "candidates.sold_lately"),
    Feature("days_on_sale", "candidates.days_on_sale"),
    Feature("kind", "candidates.kind", "category", KINDS),
)
RULES = """
version = "spring"
[[rule]]
name = "nothing_recalled"
kind = "filter"
phase = "before"
where = "recalled=true"
"""
SOON = ("plain-lamp", "plain-chair", "recalled", "blank", "hidden-rug")  # items that launch after the log
NUMBERS = ("grade", "fit", "sold_lately", "days_on_sale", "kind")


class Shop:
    """Arrays of a simulated shop: items, and requests of 12 candidates each.

    Retriever ``near`` proposes what fits the member; ``new`` proposes young items, but never a rug.
    """

    def __init__(self, seed: int = 0, launches: int = EARLIER) -> None:
        rng = np.random.default_rng(seed)
        n = OLD + launches
        self.ids = [f"i{k:03d}" for k in range(n)]
        self.kind = rng.integers(0, 3, n)
        self.grade = np.clip(rng.normal(0.5, 0.15, n), 0.05, 0.95)
        self.recalled = np.zeros(n, dtype=bool)
        self.launch = np.concatenate([rng.uniform(-300, -30, OLD), np.sort(rng.uniform(-4, DAYS - 3.2, launches))])
        self.at = np.sort(rng.random(REQUESTS) * DAYS)
        self.member = rng.integers(0, 300, REQUESTS)
        self.liking = rng.normal(0, 1, (300, 3))
        self.keep = np.where(self.member % 2 == 0, 1.0, 0.5)
        self._candidates(rng)
        self.luck = rng.random(self.item.shape)

    def _candidates(self, rng):
        fit = self.liking[self.member][:, self.kind] + rng.gumbel(0, 1, (REQUESTS, len(self.ids)))
        age = self.at[:, None] - self.launch[None, :]
        near = np.where(age >= 0, fit, -np.inf)
        new = np.where((age >= 0) & (age < 7) & (self.kind != 2), rng.random(fit.shape), -np.inf)
        by_near = np.zeros(fit.shape, dtype=bool)
        np.put_along_axis(by_near, np.argsort(-near, axis=1)[:, :9], True, axis=1)
        by_new = np.zeros(fit.shape, dtype=bool)
        np.put_along_axis(by_new, np.argsort(-new, axis=1)[:, :3], True, axis=1)
        by_new &= np.isfinite(new)
        order = np.argsort(-(np.where(by_near, 10.0, 0) + np.where(by_new, 20.0, 0) + np.where(np.isfinite(near), near, -99)), axis=1)
        self.item = order[:, :12]
        self.by = np.stack([np.take_along_axis(b, self.item, 1) for b in (by_near, by_new)], axis=-1)
        self.fit = self.liking[self.member[:, None], self.kind[self.item]]
        days = np.floor(np.take_along_axis(age, self.item, 1))
        self.days_on_sale = days
        self.sold = np.floor(np.minimum(days, 7) * (1 + 6 * self.grade[self.item]))

    def matrix(self):
        parts = (self.grade[self.item], self.fit, self.sold, self.days_on_sale, self.kind[self.item].astype(float))
        return np.stack([p.ravel() for p in parts], axis=1)


def worth(grade, fit, sold):
    """What the model is to learn; an unknown grade is worth nothing."""
    return 7.0 * np.nan_to_num(grade) + 0.7 * fit + 0.03 * sold - 4.0


def taught():
    """A model of `worth`; it knows that a missing grade is bad."""
    import lightgbm

    rng = np.random.default_rng(5)
    n = 8_000
    grade = np.where(rng.random(n) < 0.1, np.nan, rng.random(n))
    matrix = np.stack([grade, rng.normal(0, 1, n), rng.integers(0, 40, n), rng.integers(0, 300, n), rng.integers(0, 3, n)], axis=1)
    options = {"objective": "regression", "num_leaves": 31, "verbose": -1, "num_threads": 1, "deterministic": True}
    data = lightgbm.Dataset(matrix, worth(matrix[:, 0], matrix[:, 1], matrix[:, 2]), feature_name=list(NUMBERS), categorical_feature=[4])
    return lightgbm.train(options, data, 50)


def open_shop(folder, *, launches=EARLIER, soon=None, expected=None, seed=0, until=DAYS):
    """Write the shop and open it.

    Parameters
    ----------
    soon : mapping of str to (kind, grade, recalled), optional
        Items that launch five days after the log ends.
    expected : mapping of str to float, optional
        What teams expect.
    until : float
        Day on which the log ends for now; see `go_on`.
    """
    shop, booster = Shop(seed, launches), taught()
    workspace = Workspace.create(folder, id="shop", name="Shop")
    bundle = Bundle(workspace.models_dir, "ranker", "1", "lightgbm", "model.txt", objective="regression", features=FEATURES)
    write_bundle(workspace.models_dir, bundle, booster.model_to_string().encode(), None)
    workspace.rulesets_dir.mkdir(exist_ok=True)
    (workspace.rulesets_dir / "spring.toml").write_text(RULES)
    workspace.replace("items", items_of(shop, soon if soon is not None else PLANTED, expected or {}))
    write_log(workspace, shop, booster, 0, until)
    bench = Workbench.open(folder)
    bench.admit()
    return bench


def go_on(bench, since, until=DAYS, *, seed=0, launches=EARLIER):
    """Write what the shop does next."""
    write_log(bench.workspace, Shop(seed, launches), taught(), since, until)
    return bench.refreshed()


def write_log(workspace, shop, booster, since, until):
    score = booster.predict(shop.matrix(), raw_score=True).reshape(shop.item.shape)
    rank = np.argsort(np.argsort(-score, axis=1, kind="stable"), axis=1) + 1
    liked = (shop.luck < 0.35 / rank / (1 + np.exp(-score))) & (rank <= SLOTS)
    ids = np.array([f"q{k:05d}" for k in range(REQUESTS)], dtype=object)
    chosen = pa.array(ids[(shop.at >= since) & (shop.at < until)])
    tables = {
        "requests": requests_of(shop, ids),
        "candidates": candidates_of(shop, score, rank, ids),
        "outcomes": outcomes_of(shop, liked, ids),
    }
    workspace.append(**{name: t.filter(pc.is_in(t.column("request_id"), value_set=chosen)) for name, t in tables.items()})


PLANTED = {
    "plain-lamp": ("lamp", 0.55, False),
    "plain-chair": ("chair", 0.55, False),
    "recalled": ("lamp", 0.6, True),
    "blank": ("lamp", None, False),
    "hidden-rug": ("rug", 0.5, False),
}


def days(values):
    start = np.datetime64(START.replace(tzinfo=None), "us")
    return pa.array(start + (np.asarray(values) * 86400e6).astype("timedelta64[us]")).cast(pa.timestamp("us", "UTC"))


def items_of(shop, soon, expected):
    ids = [*shop.ids, *soon]
    return pa.table(
        {
            "item_id": ids,
            "title": [f"The {item}" for item in ids],
            "launched_at": days([*shop.launch, *([DAYS + 5.0] * len(soon))]),
            "kind": [*(KINDS[k] for k in shop.kind), *(kind for kind, _, _ in soon.values())],
            "grade": pa.array([*shop.grade, *(grade for _, grade, _ in soon.values())], pa.float64()),
            "recalled": [*shop.recalled.tolist(), *(recalled for _, _, recalled in soon.values())],
            "expected": pa.array([expected.get(item) for item in ids], pa.float64()),
        }
    )


def requests_of(shop, ids):
    return pa.table(
        {
            "request_id": ids,
            "served_at": days(shop.at),
            "task": ["browse"] * REQUESTS,
            "status": ["ok"] * REQUESTS,
            "member": [f"m{m}" for m in shop.member],
            "model": ["ranker"] * REQUESTS,
            "model_version": ["1"] * REQUESTS,
            "ruleset_version": ["spring"] * REQUESTS,
            "slots": [SLOTS] * REQUESTS,
            "keep_probability": shop.keep,
        }
    )


def candidates_of(shop, score, rank, ids):
    names = [["near"], ["new"], ["near", "new"]]
    code = (shop.by @ np.array([1, 2])).ravel() - 1
    return pa.table(
        {
            "request_id": np.repeat(ids, 12),
            "item_id": np.array(shop.ids, dtype=object)[shop.item.ravel()],
            "retrievers": pa.array([names[max(c, 0)] for c in code], pa.list_(pa.string())),
            "score": score.ravel(),
            "rank": rank.ravel(),
            "position": pa.array(rank.ravel(), mask=rank.ravel() > SLOTS),
            "grade": shop.grade[shop.item.ravel()],
            "fit": shop.fit.ravel(),
            "sold_lately": shop.sold.ravel(),
            "days_on_sale": shop.days_on_sale.ravel(),
            "kind": np.array(KINDS, dtype=object)[shop.kind[shop.item.ravel()]],
        }
    )


def outcomes_of(shop, liked, ids):
    hit = liked.ravel()
    at = np.repeat(shop.at, 12)[hit] + 60 / 86400
    return pa.table(
        {
            "request_id": np.repeat(ids, 12)[hit],
            "item_id": np.array(shop.ids, dtype=object)[shop.item.ravel()[hit]],
            "event": ["click"] * int(hit.sum()),
            "happened_at": days(at),
        }
    )


def last_moment():
    return START + timedelta(days=DAYS)
