"""Workspaces of other people: a grocer and a job board, written from the log formats alone, for questions nobody tuned an answer to.

Nothing here is shared with the sample workspace: other names, tasks, time zone, models (LightGBM beside scikit-learn), features (counters,
ages, ids, categories with gaps, three derived from one upstream), sampling, outcomes and page rules. Members choose by a taste that models
see only in part. A world is a clean one until an incident of `tests.localize.mishaps` spoils it; the same seed gives the same luck, so the
clean twin says what an incident did.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import pyarrow as pa

from diagnosis.localize import Window
from diagnosis.models import Bundle, Feature, write_bundle
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace

START = datetime(2025, 5, 5, tzinfo=UTC)
ROLES = ("fit", "price", "unit", "dear", "sold", "age", "dept", "far", "match", "owned", "dull")
PLAIN = ("fit", "unit", "sold", "age", "far", "match", "owned")  # what the linear model is given


@dataclass(frozen=True, eq=False)
class Trade:
    """The names and sizes of one line of business; `columns` are those of `ROLES`, `keep` the strata with their keep probabilities."""

    name: str
    zone_h: int
    width: int
    slots: int
    tasks: dict[str, float]
    plain_task: str
    columns: tuple[str, ...]
    country: tuple[str, ...]
    app: tuple[str, ...]
    dept: tuple[str, ...]
    seller: str
    retrievers: tuple[str, ...]
    keep: dict[str, float]
    events: tuple[str, str]
    noise: float  # of `fit` from one request to the next

    def column(self, role):
        return self.columns[ROLES.index(role)]


GROCER = Trade(
    "grocer", 9, 16, 6, {"aisle": 0.5, "substitutes": 0.3, "refill": 0.2}, "refill",
    ("taste_cosine", "shelf_price", "price_per_kilo", "price_vs_aisle", "units_7d", "days_listed", "aisle", "km_to_store", "query_overlap",
     "bought_before", "barcode_entropy"),
    ("JP", "KR", "TW", "TH"), ("12.1", "12.2", "13.0", "kiosk"),
    ("produce", "dairy", "bakery", "pantry", "frozen", "household"), "supplier", ("vectors", "bestsellers", "fresh_in"),
    {"gold": 1.0, "silver": 0.4, "guest": 0.15}, ("tap", "order"), 0.0,
)  # fmt: skip
JOBS = Trade(
    "jobs", -6, 22, 8, {"feed": 0.6, "digest": 0.25, "after_apply": 0.15}, "digest",
    ("skill_overlap", "salary", "salary_per_hour", "salary_vs_field", "applicants_7d", "ad_age_h", "field", "commute_km", "title_bm25",
     "applied_similar", "posting_checksum"),
    ("US", "MX", "CA"), ("web", "android-7", "ios-7", "ios-8", "mail"),
    ("nursing", "welding", "software", "teaching", "transport"), "employer", ("index", "lookalike"),
    {"a": 0.8, "b": 0.25}, ("open", "apply"), 0.25,
)  # fmt: skip


class World:
    """Requests of both windows; arrays are (requests, width) unless they are of requests. An incident may change any before `serve`."""

    def __init__(self, trade, seed, n=10_000, base_days=6.0, days=3.0):
        rng = np.random.default_rng([seed, 77])
        self.trade, self.seed, self.n, t = trade, seed, n, trade
        self.base_days, self.days = base_days, days
        at = np.sort(rng.random(3 * n) * (base_days + days))
        busy = 0.55 + 0.45 * np.cos(2 * np.pi * (at + t.zone_h / 24 - 0.8))
        self.day = at[np.sort(rng.permutation(np.flatnonzero(rng.random(3 * n) < busy))[:n])]
        self.n = n = len(self.day)
        self.late = self.day >= base_days
        self._people(rng)
        self._things(rng)
        self._features(rng)
        self.luck, self.slow = rng.random(self.item.shape), rng.exponential(0.2, self.item.shape)
        self.there = np.ones(self.item.shape, dtype=bool)
        self.status = np.where(rng.random(n) < 0.01, "fallback", "ok").astype(object)
        self.version = np.full(n, "4", dtype=object)
        self.ruleset = np.full(n, "2025-05", dtype=object)
        self.lost = np.zeros(self.item.shape, dtype=bool)
        self.scored_on = None  # other inputs than the logged ones, if any

    def _people(self, rng):
        t, n, people = self.trade, self.n, self.n // 6
        self.member = np.minimum((people * rng.random(n) ** 1.6).astype(int), people - 1)
        of = {"country": rng.choice(len(t.country), people, p=_falling(len(t.country))), "app": rng.integers(0, len(t.app), people)}
        of["stratum"] = rng.choice(len(t.keep), people)
        self.request = {"country": np.array(t.country, object)[of["country"]][self.member]}
        app = np.where(rng.random(n) < 0.15, rng.integers(0, len(t.app), n), of["app"][self.member])
        self.request["app"] = np.array(t.app, object)[app]
        self.request["stratum"] = np.array(list(t.keep), object)[of["stratum"]][self.member]
        self.request["task"] = rng.choice(list(t.tasks), n, p=list(t.tasks.values())).astype(object)
        self.request["paid"] = rng.random(n) < 0.3
        self.hour = np.floor((self.day * 24 + t.zone_h) % 24)
        self.basket = rng.poisson(3.0, n).astype(float)
        self.likes = rng.normal(0, 1, (people, len(t.dept)))

    def _things(self, rng):
        t, items = self.trade, 360
        self.dept_of = rng.choice(len(t.dept), items, p=_falling(len(t.dept), 0.8))
        self.seller_of = rng.choice(14, items, p=_falling(14, 0.95))
        self.price_of, self.size_of = np.exp(rng.normal(2.0, 0.6, items)), np.exp(rng.normal(0, 0.5, items))
        self.listed = np.where(rng.random(items) < 0.85, -rng.exponential(12, items), rng.random(items) * (self.base_days + self.days))
        self.undated = rng.random(items) < 0.05
        self.good = rng.normal(0, 0.5, items)  # seen by no model
        self.walk = np.cumsum(rng.normal(0, 0.28, (int(self.base_days + self.days) + 3, items)), axis=0) + rng.normal(3.0, 0.9, items)
        pull = 0.5 * self.likes[self.member][:, self.dept_of] + rng.gumbel(size=(self.n, items))
        pull[self.day[:, None] < self.listed] = -np.inf
        self.item = np.argpartition(-pull, t.width, axis=1)[:, : t.width]
        self.item = np.take_along_axis(self.item, np.argsort(self.item, axis=1), axis=1)
        came = rng.random((*self.item.shape, len(t.retrievers))) < np.array([0.6, 0.45, 0.25])[: len(t.retrievers)]
        came[..., 0] |= ~came.any(axis=2)
        self.came = came

    def _features(self, rng):
        t, i, who = self.trade, self.item, self.member[:, None]
        like, today = self.likes[who, self.dept_of[i]], self.day.astype(int)[:, None]
        price = self.price_of[i] * np.where((today // 4 + i) % 3 == 0, 0.9, 1.0)
        far = np.abs(rng.normal(0, 4, (len(self.likes), 14)))[who, self.seller_of[i]]
        self.f = {
            "fit": 1 / (1 + np.exp(-(like + rng.normal(0, 0.4, (len(self.likes), len(t.dept)))[who, self.dept_of[i]]))),
            "price": price, "unit": price / self.size_of[i], "sold": np.round(np.exp(self.walk[today, i])),
            "dear": price / np.array([self.price_of[self.dept_of == d].mean() for d in range(len(t.dept))])[self.dept_of[i]],
            "age": np.where(self.undated[i], np.nan, (self.day[:, None] - self.listed[i]) * 24),
            "dept": np.where(i % 25 == 7, np.nan, self.dept_of[i]), "far": np.where(who % 10 == 3, np.nan, far),
            "match": rng.beta(2, 3, i.shape), "owned": rng.poisson(np.exp(np.clip(like - 1.2, -3, 1))).astype(float),
            "dull": rng.random(i.shape),
        }  # fmt: skip
        self.f["fit"] = np.clip(self.f["fit"] + rng.normal(0, 1, i.shape) * t.noise * 0.4, 0, 1)
        self.worth = (
            1.1 * like - 0.7 * np.log(self.f["unit"]) + 0.55 * np.log1p(self.f["sold"]) + 0.6 * np.log1p(self.f["owned"])
            - 0.07 * far - 0.25 * np.log1p(np.nan_to_num(self.f["age"], nan=200.0) / 24) + 2.2 * self.f["match"]
            + self.good[i] + rng.normal(0, 0.5, i.shape) - 2.6 - 0.3 * (self.hour[:, None] < 7) - 0.5 * self.request["paid"][:, None]
        )  # fmt: skip

    def only(self, kept):
        """Leave out requests."""
        for name, value in list(vars(self).items()):
            if isinstance(value, np.ndarray) and len(value) == len(kept) and name not in ("likes", "walk"):
                setattr(self, name, value[kept])
        for part in (self.f, self.request):
            part.update({name: value[kept] for name, value in part.items()})
        self.n = int(kept.sum())

    def matrix(self, roles=ROLES, given=None):
        f = self.f if given is None else given
        own = np.stack([f[r].ravel() for r in roles], axis=1)
        wide = np.repeat(np.stack([self.hour, self.basket], axis=1), self.trade.width, axis=0)
        return np.concatenate([own, wide], axis=1)


def _falling(n, by=0.6):
    p = by ** np.arange(n)
    return p / p.sum()


@lru_cache(maxsize=8)
def models(trade, spoiled=""):
    """The trees (version 4; with a department whose labels were lost, version 5) and the linear model."""
    import lightgbm
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    school = World(trade, 4242, n=4000)
    label = (school.luck < 1 / (1 + np.exp(-school.worth))).ravel().astype(float)
    if spoiled:
        label *= (school.dept_of[school.item] != trade.dept.index(spoiled)).ravel()
    options = {"objective": "binary", "num_leaves": 15, "min_data_in_leaf": 60, "num_threads": 1, "deterministic": True, "verbose": -1}
    data = lightgbm.Dataset(
        school.matrix(), label, categorical_feature=[ROLES.index("dept")], feature_name=[*trade.columns, "local_hour", "basket_size"]
    )
    trees = lightgbm.train(options, data, 90)
    line = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(school.matrix(PLAIN), label)
    return trees, line, (school.matrix(), label)


def serve(world, spoiled=""):
    """Scores, ranks, positions and chances of a click; arrays (requests, width)."""
    t, shape = world.trade, world.item.shape
    trees, line, _ = models(t)
    given = world.scored_on or world.f
    score = trees.predict(world.matrix(given=given), raw_score=True).reshape(shape)
    if (world.version == "5").any():
        other = models(t, spoiled)[0].predict(world.matrix(given=given), raw_score=True).reshape(shape)
        score = np.where((world.version == "5")[:, None], other, score)
    plain = world.request["task"] == t.plain_task
    score[plain] = line.decision_function(world.matrix(PLAIN, given)).reshape(shape)[plain]
    score = np.where(world.there, score, -np.inf)
    rank = np.argsort(np.argsort(-score, axis=1, kind="stable"), axis=1) + 1
    place = _capped(rank, world.seller_of[world.item], 3)
    pinned = (world.seller_of[world.item] == 1) & (world.ruleset == "2025-06")[:, None] & world.there
    place = np.where(pinned, place - 1000, place)
    popular = np.where(world.there, world.walk[0][world.item], -np.inf)
    place = np.where((world.status == "ok")[:, None], place, -popular)
    place = np.argsort(np.argsort(place, axis=1, kind="stable"), axis=1) + 1
    place = np.where((place <= t.slots) & world.there, place, 0)
    dropped = (_capped(rank, world.seller_of[world.item], 3) > 500) & (world.status == "ok")[:, None]
    place = np.where(dropped, 0, place)
    look = np.where(place > 0, 1 / np.maximum(place, 1) ** 0.6, 0.0)
    return score, rank, place, look / (1 + np.exp(-world.worth)) * ~world.lost


def _capped(rank, seller, most):
    """Ranks, those beyond `most` of a seller at the end."""
    before = ((seller[:, :, None] == seller[:, None, :]) & (rank[:, None, :] < rank[:, :, None])).sum(axis=2)
    return np.where(before >= most, rank + 1000, rank)


def windows(world):
    """Baseline and incident."""
    middle = START + timedelta(days=world.base_days)
    return Window(START, middle), Window(middle, middle + timedelta(days=world.days))


def write(folder, world, *, spoiled="", contracts=False, items=True, changes=(), training=False, retrievers=True):
    """Serve a world, and write it down as a workspace; what is optional in a log is there only when asked for."""
    t = world.trade
    workspace = Workspace.create(folder, id=t.name, name=t.name, positive_events=list(t.events))
    _write_models(workspace, t, spoiled if (world.version == "5").any() else "", training)
    _write_rules(workspace, t)
    if contracts:
        workspace.contracts_file.parent.mkdir(exist_ok=True)
        workspace.contracts_file.write_text("".join(_contract(t, r) for r in ("price", "unit", "dear", "far")))
    score, rank, place, chance = serve(world, spoiled)
    ids = np.array([f"{t.name[0]}{world.seed:03d}-{i:06x}" for i in range(world.n)], dtype=object)
    at = np.datetime64(START.replace(tzinfo=None), "us") + (world.day * 86400e6).astype("timedelta64[us]")
    names = np.array([f"{t.name}/{i:04d}" for i in range(len(world.dept_of))], dtype=object)
    shown = _candidates(world, ids, names[world.item].ravel(), (score, rank, place), retrievers)
    clicked = (world.luck < chance).ravel() & world.there.ravel()
    workspace.append(
        requests=_requests(world, ids, at),
        candidates=pa.table(shown).filter(pa.array(world.there.ravel())),
        outcomes=_outcomes(world, shown, np.repeat(at, t.width), clicked),
    )
    _write_small(workspace, world, names, items, changes)
    return opened(folder)


def _candidates(world, ids, items_of, served, retrievers):
    """Columns of the table, those that are not there included."""
    t, (score, rank, place) = world.trade, served
    fine = np.repeat(world.status == "ok", t.width)
    table = {
        "request_id": np.repeat(ids, t.width),
        "item_id": items_of,
        t.seller: np.char.add("s", world.seller_of[world.item].ravel().astype(str)).astype(object),
    }
    for role in ROLES:
        values = world.f[role].ravel()
        table[t.column(role)] = (
            np.array([*t.dept, None], object)[np.where(np.isnan(values), -1, values).astype(int)]
            if role == "dept"
            else pa.array(values, from_pandas=True)
        )
    if retrievers:
        lists = [[r for r, c in zip(t.retrievers, row, strict=True) if c] for row in world.came.reshape(-1, len(t.retrievers))]
        table["retrievers"] = pa.array(lists, pa.list_(pa.string()))
    return table | {
        "score": pa.array(score.ravel(), mask=~fine),
        "rank": pa.array(rank.ravel(), mask=~fine),
        "position": pa.array(place.ravel(), mask=place.ravel() == 0),
    }


def _outcomes(world, shown, at, hits):
    t, slow = world.trade, world.slow.ravel()[hits]
    when = at[hits] + (slow * 86400e6).astype("timedelta64[us]")
    return pa.table(
        {
            "request_id": shown["request_id"][hits],
            "item_id": shown["item_id"][hits],
            "event": np.where(slow > 0.3, t.events[1], t.events[0]).astype(object),
            "happened_at": pa.array(when).cast(pa.timestamp("us", "UTC")),
        }
    )


def _requests(world, ids, at):
    t, ok, plain = world.trade, world.status == "ok", world.request["task"] == world.trade.plain_task
    return pa.table({
        "request_id": ids, "served_at": pa.array(at).cast(pa.timestamp("us", "UTC")), **world.request,
        "member": np.char.add("u", world.member.astype(str)).astype(object), "status": world.status, "local_hour": world.hour,
        "basket_size": world.basket, "model": pa.array(np.where(plain, "line", "trees"), mask=~ok),
        "model_version": pa.array(np.where(plain, "1", world.version.astype(str)), mask=~ok), "ruleset_version": world.ruleset,
        "slots": [t.slots] * world.n, "keep_probability": np.array([t.keep[s] for s in world.request["stratum"]]),
    })  # fmt: skip


def _write_rules(workspace, t):
    workspace.rulesets_dir.mkdir(exist_ok=True)
    cap = f'[[rule]]\nname = "few_of_a_seller"\nkind = "cap"\nby = "{t.seller}"\nat_most = 3\n'
    pin = f'[[rule]]\nname = "partner_week"\nkind = "pin"\nposition = 1\nwhere = "{t.seller}=s1"\n'
    (workspace.rulesets_dir / "a.toml").write_text('version = "2025-05"\n' + cap)
    (workspace.rulesets_dir / "b.toml").write_text('version = "2025-06"\n' + cap + pin)


def opened(folder):
    """The workspace, with those of its models admitted that are not yet: each takes a child process."""
    bench = Workbench.open(folder)
    for bundle in bench.bundles:
        known = bench.admissions.get((bundle.name, bundle.version))
        if known is None or known.artifact_sha256 != bundle.sha256:
            bench.admit(bundle.name, bundle.version)
    return bench


def _write_small(workspace, world, names, items, changes):
    t, since = world.trade, pa.array([START - timedelta(days=60)] * len(names), pa.timestamp("us", "UTC"))
    if items:
        launched = [START + timedelta(days=float(d)) for d in world.listed]
        kinds = np.array(t.dept, object)[world.dept_of]
        sold_by = np.char.add("s", world.seller_of.astype(str)).astype(object)
        workspace.replace(
            "items",
            pa.table(
                {
                    "item_id": names,
                    "valid_from": since,
                    "launched_at": pa.array(launched, pa.timestamp("us", "UTC")),
                    "line": kinds,
                    t.seller: sold_by,
                }
            ),
        )
    if changes:
        at = pa.array([c[0] for c in changes], pa.timestamp("us", "UTC"))
        workspace.replace("changes", pa.table({"changed_at": at, "kind": [c[1] for c in changes], "target": [c[2] for c in changes]}))


def _contract(t, role):
    name = t.column(role)
    upstream = "price_feed" if role != "far" else "geo"
    return f'[[feature]]\nname = "{name}"\nfrom = "candidates.{name}"\nentity = ["item_id"]\nmissing = "allowed"\nupstream = "{upstream}"\nowner = "{upstream}-crew"\n'


def _write_models(workspace, t, spoiled, training):
    import skops.io

    def feature(role):
        category = ("category", t.dept) if role == "dept" else ("double", ())
        return Feature(t.column(role), f"candidates.{t.column(role)}", *category)

    extra = (Feature("local_hour", "requests.local_hour"), Feature("basket_size", "requests.basket_size"))
    made = [("trees", "4", "lightgbm", "m.txt", ROLES, models(t)[0].model_to_string().encode(), models(t)[2])]
    if spoiled:
        made.append(("trees", "5", "lightgbm", "m.txt", ROLES, models(t, spoiled)[0].model_to_string().encode(), models(t, spoiled)[2]))
    made.append(("line", "1", "sklearn", "m.skops", PLAIN, skops.io.dumps(models(t)[1]), None))
    for name, version, kind, file, roles, artifact, rows in made:
        features = (*(feature(r) for r in roles), *extra)
        bundle = Bundle(workspace.models_dir, name, version, kind, file, objective="binary", link="sigmoid", features=features)
        table = None
        if training and rows is not None:
            columns = {f.name: rows[0][:, i] for i, f in enumerate(features)}
            codes = np.where(np.isnan(columns[t.column("dept")]), -1, columns[t.column("dept")]).astype(int)
            table = pa.table(columns | {t.column("dept"): np.array([*t.dept, None], object)[codes], "label": rows[1]})
        write_bundle(workspace.models_dir, bundle, artifact, table)
