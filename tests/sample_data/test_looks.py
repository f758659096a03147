"""What each incident looks like in the log: what a diagnosis has to go by."""

import numpy as np
import pyarrow.compute as pc
import pytest

from sample_data.features import RETRIEVERS
from sample_data.manifest import contracts
from sample_data.ranker import CURRENT, INPUTS, NEXT, PARENT
from sample_data.small_tables import changes, items
from sample_data.upstreams import UPSTREAMS
from sample_data.write import candidates_of, outcomes_of, requests_of, volumes_of

WIDTH = 40


def logged(simulation, name):
    """A column of the log, shape (requests, width) or (requests,), of the hit requests and of all others."""
    table = candidates_of(simulation)
    if name in table.column_names:
        values = table.column(name).to_numpy(zero_copy_only=False).reshape(-1, WIDTH)
    else:
        values = requests_of(simulation).column(name).to_numpy(zero_copy_only=False)
    rows = simulation.rows
    return values[rows], np.delete(values, rows, axis=0)


def cause(simulation):
    return simulation.truth()["target"]


def test_an_outage_is_nulls_in_every_feature_of_the_upstream_and_nowhere_else(small):
    outage = small("upstream_outage")
    for name in UPSTREAMS[cause(outage)][1]:
        there, elsewhere = logged(outage, name)
        assert all(v is None or v != v for v in there.ravel())
        if name != "item_ctr":  # an item without impressions has none
            assert not any(v is None or v != v for v in elsewhere.ravel())


def test_a_stuck_feature_holds_one_value(small):
    there, elsewhere = logged(small("stuck_default"), cause(small("stuck_default")))
    assert len(np.unique(there)) == 1 < len(np.unique(elsewhere[~np.isnan(elsewhere)]))


def test_a_changed_unit_leaves_the_contract(small):
    broken = small("unit_change")
    clean = broken.twin.log.served.plan.candidates.columns[cause(broken)][broken.rows]
    there = broken.log.served.plan.candidates.columns[cause(broken)][broken.rows]
    ratio = (there / clean)[clean > 0]
    assert np.nanmin(ratio) == pytest.approx(np.nanmax(ratio))
    assert ratio[0] >= 24


def test_a_stale_feature_says_from_which_day_it_is(small):
    stale = small("stale_feature")
    there, elsewhere = logged(stale, f"{cause(stale)}__at")
    assert len(np.unique(there)) == 1
    served = requests_of(stale).column("served_at").to_numpy()
    others = np.delete(served, stale.rows)
    assert ((others - elsewhere[:, 0]) < np.timedelta64(1, "D")).all()
    assert (served[stale.rows] - there[:, 0] > np.timedelta64(1, "D")).all()


def test_a_renamed_category_is_a_name_that_no_contract_has(small):
    renamed = small("category_rename")
    there, elsewhere = logged(renamed, cause(renamed))
    allowed = {c["name"]: set(c.get("values", ())) for c in contracts()}[cause(renamed)]
    assert len(set(there.ravel()) - allowed) == 1
    assert set(elsewhere.ravel()) <= allowed


def test_a_derived_feature_parts_from_its_recipe_and_its_parents_stay(small):
    broken = small("derived_bug")
    columns, clean = broken.log.served.plan.candidates.columns, broken.twin.log.served.plan.candidates.columns
    assert {name for name in columns if not np.array_equal(columns[name], clean[name], equal_nan=True)} == {cause(broken)}


def test_the_sentinel_stands_where_the_feature_applies(small):
    broken = small("sentinel_leak")
    there, _ = logged(broken, cause(broken))
    assert set(there.ravel()) == {-1.0}
    assert set(requests_of(broken).column("task").to_pylist()[i] for i in broken.rows) <= {"search", "related"}


@pytest.mark.parametrize("kind", ["category_codes", "wrong_model"])
def test_scores_are_not_those_of_the_logged_inputs_and_version(kind, small):
    broken = small(kind)
    rows = broken.rows
    plan = broken.log.served.plan.take(rows)
    assert (plan.version == 1).all()
    right = broken.log.files.models[CURRENT].score(plan.candidates)
    there = broken.log.served.score[rows]
    scored = ~np.isnan(there)
    assert (np.abs(there - right)[scored] > 1e-9).mean() > 0.2
    for name, values in broken.twin.log.served.plan.candidates.columns.items():
        np.testing.assert_array_equal(plan.candidates.columns[name], values[rows])


def test_a_swapped_model_is_named_and_never_saw_a_feature(small):
    there, elsewhere = logged(small("model_swap"), "model_version")
    assert set(there) - {None} == {PARENT}
    assert set(elsewhere) - {None} == {CURRENT}
    assert set(INPUTS) - set(small("model_swap").log.files.models[PARENT].inputs) == {"member_recent_share"}


def test_labels_of_one_value_are_lost_in_training(small):
    broken = small("label_bug")
    models = broken.log.files.models
    attribute = "device" if cause(broken) in ("phone", "tv", "web", "tablet") else "app_version"

    def rate(version, of):
        table = models[version].training
        held = pc.equal(table.column(attribute), cause(broken))
        return pc.mean(table.filter(held if of else pc.invert(held)).column("label")).as_py()

    assert rate(NEXT, True) < 0.1 * rate(CURRENT, True)
    assert rate(NEXT, False) == rate(CURRENT, False)
    assert set(logged(broken, "model_version")[0]) - {None} == {NEXT}
    assert "model" in [k for k, v in zip(*changes(broken).select(["kind", "after"]).to_pydict().values(), strict=True) if v == NEXT]


def test_a_leaked_feature_knows_the_label_in_training(small):
    broken = small("leakage")
    models, name = broken.log.files.models, cause(broken)

    def tells(version):
        table = models[version].training.select([name, "label"]).drop_null().to_pandas()
        return table.corr().iloc[0, 1]

    assert tells(NEXT) > tells(CURRENT) + 0.05


def test_a_retriever_does_not_propose_the_genre(small):
    broken = small("retriever_drop")
    (genre,) = broken.truth()["slice"]["genre"]
    plan = broken.log.served.plan.take(broken.rows)
    proposed = plan.candidates.proposed[..., RETRIEVERS.index(cause(broken))]
    of_genre = np.array(logged(broken, "genre")[0]) == genre
    assert not (proposed & of_genre).any()
    assert of_genre.any() or cause(broken) == "taste"


def test_a_flood_launches_five_times_as_much(small):
    broken = small("launch_flood")
    day = items(broken).column("launched_at").to_numpy().astype("datetime64[h]")
    onset = np.datetime64(broken.truth()["since"][:-1], "h")
    week = np.timedelta64(5 * 24, "h")
    after, before = (((day >= since) & (day < since + week)).sum() for since in (onset, onset - week))
    assert after >= 5 * max(before, 1)
    assert len(items(broken)) == len(items(small("clean"))) + 60


def test_a_broken_rule_is_a_ruleset_of_its_own(small):
    broken = small("rule_bug")
    there, elsewhere = logged(broken, "ruleset_version")
    assert set(there) == {"2026-10-c"}
    assert "2026-10-c" not in set(elsewhere)
    rules = {rules.version: {r["name"]: r for r in rules.as_toml()["rule"]} for rules in broken.log.files.rulesets}
    differ = [name for name in rules["2026-10-b"] if rules["2026-10-b"][name] != rules["2026-10-c"][name]]
    assert differ == [cause(broken)]


def test_the_worst_comes_first_in_one_country(small):
    broken = small("inverted_sort")
    score, rank = broken.log.served.score[broken.rows], broken.log.served.rank[broken.rows]
    some = (rank > 0).any(axis=1)
    first = score[some][rank[some] == 1]
    np.testing.assert_array_equal(first, np.nanmin(score[some], axis=1))
    assert set(logged(broken, "ruleset_version")[0]) <= {"2026-10-b"}


def test_a_fallback_says_so_and_takes_longer(small):
    broken = small("timeout_fallback")
    status, _ = logged(broken, "status")
    assert (status == "fallback").mean() > 0.95
    there, elsewhere = logged(broken, "latency_ms")
    assert np.median(there) > 3 * np.median(elsewhere)
    assert (broken.log.served.position[broken.rows] > 0).any()


def test_a_cached_page_is_that_of_an_earlier_request_of_the_member(small):
    broken = small("stale_cache")
    everything, traffic, plan = broken.log.everything, broken.log.traffic, broken.log.served.plan
    cached = np.flatnonzero(plan.status == 4)
    assert set(cached) <= set(broken.rows)
    assert len(cached) > 0.2 * len(broken.rows)  # the others had not come before
    place = {int(key): i for i, key in enumerate(everything.key)}
    inside = {int(key): i for i, key in enumerate(traffic.key)}
    compared = 0
    for row in cached:
        source = place[int(plan.source[row])]
        assert everything.member[source] == traffic.member[row] >= 0
        assert everything.task[source] == traffic.task[row]
        assert everything.at[source] < broken.twin.since
        other = inside.get(int(plan.source[row]))
        if other is not None:
            compared += 1
            assert _page(broken.log.served, row) == _page(broken.log.served, other)
    assert compared


def _page(served, row):
    shown = np.flatnonzero(served.position[row])
    return [int(served.plan.candidates.item[row, i]) for i in shown[np.argsort(served.position[row, shown])]]


def test_a_knob_is_on_the_timeline_in_the_environment_and_in_the_age_of_values(small):
    broken = small("knob")
    (environment,) = broken.truth()["slice"]["environment"]
    hours = broken.log.files.knobs[environment][cause(broken)]
    told = [row for row in changes(broken).to_pylist() if row["target"] == cause(broken)]
    assert [(row["before"], row["after"]) for row in told] == [("24", str(hours))]
    served = requests_of(broken).column("served_at").to_numpy()[broken.rows]
    for name in ("item_ctr", "member_recent_share", "member_plays"):
        at = logged(broken, f"{name}__at")[0]
        age = served - (at[:, 0] if at.ndim == 2 else at)
        assert (age > np.timedelta64(hours - 25, "h")).all()


def test_the_mix_shifts_and_nothing_is_broken(small):
    broken = small("traffic_mix")
    attribute = cause(broken)
    was, now = (log.traffic.take(broken.twin.late).attribute(attribute) for log in (broken.twin.log, broken.log))
    value = max(set(now), key=lambda v: (now == v).mean() - (was == v).mean())
    assert (now == value).mean() > (was == value).mean() + 0.1
    right = broken.log.files.models[CURRENT].score(broken.log.served.plan.take(broken.rows).candidates)
    there = broken.log.served.score[broken.rows]
    np.testing.assert_array_equal(there[~np.isnan(there)], right[~np.isnan(there)])


def test_a_shift_of_taste_comes_with_its_campaign(small):
    broken = small("taste_shift")
    assert any(row["kind"] == "campaign" and "season of" in row["note"] for row in changes(broken).to_pylist())


def test_lost_outcomes_are_lost_and_none_is_made_up(small):
    for kind in ("outcome_loss", "outside"):
        broken = small(kind)
        assert not (broken.log.served.clicked & ~broken.twin.log.served.clicked).any()
        assert not (broken.log.served.played & ~broken.log.served.clicked).any()
        assert outcomes_of(broken).num_rows < outcomes_of(small("clean")).num_rows


def test_volumes_tell_that_keep_probabilities_are_wrong(small):
    broken = small("sampling_bug")
    volumes = volumes_of(broken).to_pandas()
    late = volumes[volumes["hour"] >= broken.truth()["since"]].groupby("stratum")[["seen", "kept"]].sum()
    traffic = broken.log.traffic.take(broken.twin.late)
    logged_keep = {task: np.median(traffic.keep[traffic.attribute("task") == task]) for task in late.index}
    wrong = {task for task, row in late.iterrows() if abs(row["kept"] / row["seen"] / logged_keep[task] - 1) > 0.25}
    assert wrong == {cause(broken)}
    assert (broken.log.traffic.keep <= 1).all()


def test_twins_log_the_same_latency_where_nothing_was_hit(small):
    _, elsewhere = logged(small("timeout_fallback"), "latency_ms")
    clean = np.delete(requests_of(small("clean")).column("latency_ms").to_numpy(), small("timeout_fallback").rows)
    np.testing.assert_array_equal(elsewhere, clean)
