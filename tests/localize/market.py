"""A small market with planted causes: nothing in it is named as the sample workspace names things."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from diagnosis.localize import Window
from diagnosis.models import Bundle, Feature, write_bundle
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace

START = datetime(2026, 3, 2, tzinfo=UTC)
BASELINE, INCIDENT = Window(START, START + timedelta(days=4)), Window(START + timedelta(days=4), START + timedelta(days=8))
KINDS = ("lamp", "chair", "sofa", "rug")
CHANNELS = ("app", "site", "kiosk")
FEATURES = (
    Feature("discount", "candidates.discount"),
    Feature("fit", "candidates.fit"),
    Feature("kind", "candidates.kind", "category", KINDS),
)
CONTRACT = """
[[feature]]
name = "discount"
from = "candidates.discount"
entity = ["item_id"]
min = 0.0
max = 1.0
missing = "never"
upstream = "pricing"
owner = "pricing-team"
"""
WIDTH, SLOTS, ITEMS, MEMBERS = 12, 5, 60, 400


@dataclass
class Market:
    """Arrays of shape (requests, WIDTH) that a test may spoil before pages are made; and what it may spoil after."""

    seed: int = 0
    n: int = 3000
    spoil: dict = field(default_factory=dict)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.day = np.sort(rng.random(self.n) * 8)
        self.channel = rng.choice(3, self.n, p=[0.5, 0.3, 0.2])
        self.member = rng.integers(0, MEMBERS, self.n)
        self.kind_of, self.discount_of = rng.integers(0, 4, ITEMS), rng.random(ITEMS)
        liking = rng.normal(0, 1, (MEMBERS, 4))
        self.item = np.argsort(rng.random((self.n, ITEMS)), axis=1)[:, :WIDTH]
        self.kind = self.kind_of[self.item]
        self.discount = self.discount_of[self.item]
        self.fit = liking[self.member[:, None], self.kind] + rng.normal(0, 0.3, self.item.shape)
        self.worth = 3.0 * self.discount + 0.9 * self.fit - 2.2 + 0.4 * (self.kind == 1)
        self.late = self.day >= 4
        self.luck = rng.random(self.item.shape)
        self.version = np.full(self.n, "2", dtype=object)
        self.look = 1 / np.log2(np.arange(1, WIDTH + 1) + 1)
        self.status = np.full(self.n, "ok", dtype=object)
        self.ascending = np.zeros(self.n, dtype=bool)
        self.lost = np.zeros(self.item.shape, dtype=bool)
        self.given = None
        self.of_requests, self.of_candidates = {}, {}  # more columns

    def matrix(self, discount=None, fit=None, kind=None):
        parts = (self.discount if discount is None else discount, self.fit if fit is None else fit, self.kind if kind is None else kind)
        return np.stack([np.asarray(p, dtype=np.float64).ravel() for p in parts], axis=1)


def boosters():
    """Version 2 knows everything, version 1 only the kind."""
    import lightgbm

    school = Market(seed=99, n=2500)
    label = (school.luck < 1 / (1 + np.exp(-school.worth))).ravel().astype(float)
    options = {"objective": "binary", "num_leaves": 12, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 40, "deterministic": True}
    made = {}
    for version, matrix in (("1", school.matrix(discount=school.discount * 0, fit=school.fit * 0)), ("2", school.matrix())):
        data = lightgbm.Dataset(matrix, label, feature_name=["discount", "fit", "kind"], categorical_feature=[2])
        made[version] = lightgbm.train(options, data, 40)
    return made


@dataclass(frozen=True)
class Pages:
    """What the market showed; arrays of shape (requests, WIDTH)."""

    score: np.ndarray
    rank: np.ndarray
    place: np.ndarray
    clicked: np.ndarray


def open_market(folder, market, models, training=None):
    """Serve the market's pages and write them down; `training` holds the training rows of versions."""
    scored_by = market.spoil.get("scored_by", market.version)
    pages = served(market, models, scored_by)
    workspace = Workspace.create(folder, id="market", name="Market")
    used = {*market.version, *scored_by}  # admitting takes a child process
    write_files(workspace, {version: model for version, model in models.items() if version in used}, training)
    ids = np.array([f"q{i:05d}" for i in range(market.n)], dtype=object)
    at = np.datetime64(START.replace(tzinfo=None), "us") + (market.day * 86400e6).astype("timedelta64[us]")
    items = np.array([f"i{i}" for i in market.item.ravel()], dtype=object)
    workspace.append(
        requests=requests_of(market, ids, at),
        candidates=candidates_of(market, pages, ids, items),
        outcomes=outcomes_of(pages, ids, at, items),
    )
    bench = Workbench.open(folder)
    bench.admit()
    return bench


def served(market, models, scored_by):
    """Pages by score, or by popularity where no model answered; members click by luck, place and worth."""
    matrix = market.matrix() if market.given is None else market.given
    scores = {v: m.predict(matrix, raw_score=True).reshape(market.item.shape) for v, m in models.items()}
    score = np.select([(scored_by == v)[:, None] for v in scores], list(scores.values()))
    order = np.argsort(np.where(market.ascending[:, None], score, -score), axis=1, kind="stable")
    rank = np.argsort(order, axis=1) + 1
    popular = np.argsort(np.argsort(-(market.item % 7 + market.luck * 0.1), axis=1), axis=1) + 1
    place = np.where((market.status == "ok")[:, None], rank, popular)
    liked = market.luck < market.look[np.minimum(place, WIDTH) - 1] / (1 + np.exp(-market.worth))
    return Pages(score, rank, place, (place <= SLOTS) & liked & ~market.lost)


def write_files(workspace, models, training=None):
    for version, model in models.items():
        bundle = Bundle(
            workspace.models_dir, "seller", version, "lightgbm", "model.txt", objective="binary", link="sigmoid", features=FEATURES
        )
        write_bundle(workspace.models_dir, bundle, model.model_to_string().encode(), (training or {}).get(version))
    workspace.rulesets_dir.mkdir(exist_ok=True)
    (workspace.rulesets_dir / "plain.toml").write_text('version = "plain"\n')
    workspace.contracts_file.parent.mkdir(exist_ok=True)
    workspace.contracts_file.write_text(CONTRACT)


def requests_of(market, ids, at):
    ok = market.status == "ok"
    return pa.table(
        {
            "request_id": ids,
            "served_at": pa.array(at).cast(pa.timestamp("us", "UTC")),
            "task": ["browse"] * market.n,
            "status": market.status,
            "member": [f"m{m}" for m in market.member],
            "model": np.where(ok, "seller", None),
            "model_version": np.where(ok, market.version, None),
            "ruleset_version": ["plain"] * market.n,
            "slots": [SLOTS] * market.n,
            "channel": np.array(CHANNELS, dtype=object)[market.channel],
            "keep_probability": np.where(market.channel == 2, 1.0, 0.5),
            **market.of_requests,
        }
    )


def candidates_of(market, pages, ids, items):
    unscored = np.repeat(market.status != "ok", WIDTH)
    return pa.table(
        {
            "request_id": np.repeat(ids, WIDTH),
            "item_id": items,
            "discount": market.discount.ravel(),
            "fit": market.fit.ravel(),
            "kind": np.array(KINDS, dtype=object)[market.kind.ravel()],
            "score": pa.array(pages.score.ravel(), mask=unscored),
            "rank": pa.array(pages.rank.ravel(), mask=unscored),
            "position": pa.array(pages.place.ravel(), mask=pages.place.ravel() > SLOTS),
            **market.of_candidates,
        }
    )


def outcomes_of(pages, ids, at, items):
    hit = pages.clicked.ravel()
    return pa.table(
        {
            "request_id": np.repeat(ids, WIDTH)[hit],
            "item_id": items[hit],
            "event": ["click"] * int(hit.sum()),
            "happened_at": pa.array(np.repeat(at, WIDTH)[hit]).cast(pa.timestamp("us", "UTC")),
        }
    )
