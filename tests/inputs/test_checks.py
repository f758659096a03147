"""One request against its contract."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.errors import ContractError
from diagnosis.inputs import Contract, check_request, infer_contracts, profile, read_contracts, write_contracts
from diagnosis.models import Bundle, Feature
from diagnosis.testing import NOON, make_request


def outcomes(request, *contracts, **options):
    rows = check_request(request, contracts, **options).rows
    return {(r.feature, r.check): r.outcome for r in rows.itertuples() if r.outcome != "not_applicable"}


def of(name="x", **values):
    return Contract(name, f"candidates.{name}", **values)


def test_a_value_in_its_range_is_ok_and_one_outside_is_told_with_the_worst():
    checks = check_request(make_request(x=[0.2, 7.0, 3.0]), [of(min=0.0, max=1.0, unit="share", owner="stats")])
    row = checks.failed.iloc[0]
    assert (row.check, row.failed, row.of, row.observed, row.expected, row.item_id) == ("range", 2, 3, "7", "0 to 1", "b")
    assert checks.sentence == "1 of 3 input checks failed: x is 7 share on 2 of 3 candidates, expected 0 to 1."


@pytest.mark.parametrize("value", [float("inf"), -float("inf")])
def test_infinity_is_outside(value):
    assert outcomes(make_request(x=[value]), of(min=0.0, max=1.0))["x", "range"] == "failed"


@pytest.mark.parametrize(("value", "observed"), [(None, "missing"), (float("nan"), "NaN")])
def test_missing_and_nan_are_told_apart(value, observed):
    failed = check_request(make_request(x=pa.array([1.0, value])), [of(missing="never")]).failed
    assert failed[["check", "observed"]].values.tolist() == [["missing", observed]]


def test_missing_may_be_allowed():
    assert outcomes(make_request(x=[1.0, None]), of(missing="allowed", min=0.0)) == {
        ("x", "logged"): "ok",
        ("x", "type"): "ok",
        ("x", "range"): "ok",
    }


@pytest.mark.parametrize(
    ("task", "value", "outcome"), [("search", 0.5, "ok"), ("search", -1.0, "failed"), ("homepage", -1.0, "ok"), ("homepage", 0.5, "failed")]
)
def test_a_sentinel_belongs_where_the_feature_does_not_apply(task, value, outcome):
    contract = of(min=0.0, max=1.0, tasks=("search",), sentinel=-1.0)
    assert outcomes(make_request(x=[value], request={"task": task}), contract)["x", "sentinel"] == outcome


def test_a_sentinel_is_not_a_range_violation_as_well():
    contract = of(min=0.0, max=1.0, tasks=("search",), sentinel=-1.0)
    assert outcomes(make_request(x=[-1.0], request={"task": "search"}), contract)["x", "range"] == "ok"


def test_a_value_that_is_too_old_is_told():
    at = pa.array([NOON - timedelta(hours=1), NOON - timedelta(hours=30)], pa.timestamp("us", "UTC"))
    row = check_request(make_request(x=[1.0, 1.0], x__at=at), [of(max_age_s=86400.0)]).failed.iloc[0]
    assert (row.check, row.failed, row.observed, row.expected) == ("age", 1, "30.0 h old", "at most 24 h")


def test_without_times_age_is_not_applicable():
    assert ("x", "age") not in outcomes(make_request(x=[1.0]), of(max_age_s=1.0))


def test_a_category_outside_its_list_is_told():
    row = check_request(make_request(x=["tv", "radio"]), [of(values=("tv", "web"))]).failed.iloc[0]
    assert (row.check, row.observed, row.expected) == ("category", "'radio'", "one of tv, web")


def test_a_number_where_text_belongs_is_a_wrong_type():
    assert outcomes(make_request(x=["cheap"]), of(min=0.0))["x", "type"] == "failed"


def test_a_column_that_is_not_logged_is_told():
    assert outcomes(make_request(y=[1.0]), of())["x", "logged"] == "failed"


def test_a_derived_feature_is_recomputed():
    contract = of("ctr", recompute="clicks / nullif(shown, 0)", tolerance=1e-9)
    good = make_request(ctr=[0.5, None], clicks=[1, 0], shown=[2, 0])
    bad = make_request(ctr=[50.0, None], clicks=[1, 0], shown=[2, 0])
    assert outcomes(good, contract)["ctr", "recomputed"] == "ok"
    assert check_request(bad, [contract]).failed.iloc[0].expected == "0.5 = clicks / nullif(shown, 0)"


def test_a_parent_on_the_request_is_found():
    contract = of("share", recompute="plays / total")
    assert outcomes(make_request(share=[0.5], plays=[2], request={"total": 4}), contract)["share", "recomputed"] == "ok"


def test_a_failing_parent_explains_its_derived_feature():
    contracts = [of("ctr", max=1.0, derived_from=("clicks",)), of("clicks", max=100.0)]
    checks = check_request(make_request(ctr=[9.0], clicks=[900.0]), contracts)
    assert checks.roots == ["clicks"]
    assert checks.sentence.endswith("all of it goes back to clicks.")


def test_several_features_of_one_upstream_are_one_cause():
    contracts = [of(n, missing="never", upstream="daily") for n in ("p", "q", "r")]
    checks = check_request(make_request(p=[None], q=[None], r=[1.0]), contracts)
    assert checks.roots == ["upstream daily"]


def test_a_request_feature_is_checked_once():
    row = check_request(make_request(x=[1.0, 1.0], request={"age": -5}), [Contract("age", "requests.age", min=0.0)]).failed.iloc[0]
    assert (row.failed, row.of, row.item_id) == (1, 1, None)


def test_no_candidates_fail_nothing():
    assert check_request(make_request(items=[], x=[]), [of(min=0.0)]).failed.empty


BUNDLE = Bundle(
    None,
    "m",
    "1",
    "lightgbm",
    "x",
    features=(*tuple(Feature(n, f"candidates.{n}") for n in "pqr"), Feature("c", "candidates.c", "category", ("u", "v"))),
)


@pytest.fixture(scope="module")
def training():
    rng = np.random.default_rng(0)
    p = rng.normal(size=3000)
    return pa.table(
        {
            "p": p,
            "q": p + 0.05 * rng.normal(size=3000),
            "r": rng.normal(size=3000),
            "c": rng.choice(["u", "v"], 3000),
            "task": ["homepage"] * 3000,
        }
    )


def test_a_value_far_outside_training_and_an_unseen_category_are_told(training):
    found = outcomes(make_request(p=[90.0], q=[0.0], r=[0.0], c=["w"]), bundle=BUNDLE, training=profile(BUNDLE, training, "homepage"))
    assert (found["p", "training"], found["q", "training"], found["c", "training"]) == ("failed", "ok", "failed")


def test_values_in_range_that_never_go_together_are_jointly_unusual(training):
    known = profile(BUNDLE, training, "homepage")
    usual = outcomes(make_request(p=[1.0], q=[1.02], r=[0.0], c=["u"]), bundle=BUNDLE, training=known)
    strange = outcomes(make_request(p=[1.5], q=[-1.5], r=[0.0], c=["u"]), bundle=BUNDLE, training=known)
    assert (usual["all numeric features", "joint"], strange["all numeric features", "joint"]) == ("ok", "failed")


def test_training_rows_themselves_are_unusual_as_often_as_they_should(training):
    known = profile(BUNDLE, training, "homepage")
    fresh = np.random.default_rng(1)
    p = fresh.normal(size=4000)
    frame = pa.table({"p": p, "q": p + 0.05 * fresh.normal(size=4000), "r": fresh.normal(size=4000)}).to_pandas()
    values = known.p_values(frame)
    assert 0.03 < (values < 0.05).mean() < 0.08


def test_contracts_are_written_and_read_the_same(tmp_path):
    contracts = (of(min=0.0, tasks=("a",), sentinel=-1.0, derived_from=("y",), recompute="y + 1", max_age_s=5.0), of("t", values=("u",)))
    (tmp_path / "features.toml").write_text(write_contracts(contracts))
    assert read_contracts(tmp_path / "features.toml") == contracts
    assert read_contracts(tmp_path / "none.toml") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[feature]]\nname = "x"\nminn = 1', "did you mean min"),
        ('[[feature]]\nname = "x"\nmin = "a"', "write a number"),
        ('[[feature]]\nname = "x"\nmin = 2\nmax = 1', "no value lies between"),
        ('[[feature]]\nname = "x"\nmin = nan', "no value lies between"),
        ('[[feature]]\nname = "x"\ntasks = "a"', "write a list"),
        ('[[feature]]\nname = "x"\nmissing = "maybe"', "never or allowed"),
        ('[[feature]]\nname = "x"\nfrom = "items.x"', "candidates"),
        ('[[feature]]\nname = "x"\nrecompute = "os.system(1)"', "did not expect"),
        ('[[feature]]\nname = "x"\n[[feature]]\nname = "x"', "two contracts"),
        ("[[feature]]\nmin = 1", "no name"),
        ("[[feature", "cannot be read"),
    ],
)
def test_a_wrong_contract_names_feature_key_and_fix(tmp_path, text, message):
    (tmp_path / "features.toml").write_text(text)
    with pytest.raises(ContractError, match=message):
        read_contracts(tmp_path / "features.toml")


def test_a_draft_finds_shares_and_sentinels():
    bundle = Bundle(
        None,
        "m",
        "1",
        "lightgbm",
        "x",
        features=(
            Feature("share", "candidates.share"),
            Feature("match", "candidates.match"),
            Feature("c", "candidates.c", "category", ("u", "v")),
        ),
    )
    rows = pa.table(
        {
            "share": [0.1, None, 0.9, 0.3],
            "match": [-1.0, -1.0, 0.2, 7.0],
            "c": ["u", "v", "u", "v"],
            "task": ["home", "home", "search", "search"],
        }
    )
    share, match, colour = infer_contracts(bundle, rows)
    assert (share.min, share.max, share.missing) == (0.0, 1.0, "allowed")
    assert (match.tasks, match.sentinel, match.min, match.missing) == (("search",), -1.0, 0.0, "never")
    assert colour.values == ("u", "v")


# --- more of the log's oddities ---------------------------------------------------------------------------------------


def test_infinity_is_out_of_range_even_without_bounds():
    assert outcomes(make_request(x=[float("inf"), 1.0]), of())["x", "range"] == "failed"
    assert ("x", "range") not in outcomes(make_request(x=[1.0]), of())


def test_a_value_from_after_the_request_is_told():
    at = pa.array([NOON + timedelta(hours=2), NOON - timedelta(hours=1)], pa.timestamp("us", "UTC"))
    row = check_request(make_request(x=[1.0, 1.0], x__at=at), [of()]).failed.iloc[0]
    assert (row.check, row.failed, row.observed, row.expected) == ("age", 1, "from 2.0 h after the request", "from before the request")


def test_values_without_a_time_are_not_counted():
    at = pa.array([None, NOON - timedelta(hours=1)], pa.timestamp("us", "UTC"))
    rows = check_request(make_request(x=[1.0, 1.0], x__at=at), [of(max_age_s=86400.0)]).rows.set_index("check")
    assert (rows.loc["age", "outcome"], rows.loc["age", "of"], rows.loc["age", "observed"]) == ("ok", 1, "up to 1.0 h old")
    none = check_request(make_request(x=[1.0], x__at=pa.array([None], pa.timestamp("us", "UTC"))), [of(max_age_s=1.0)])
    assert none.rows.set_index("check").loc["age", "outcome"] == "not_applicable"


def test_what_the_feature_store_said_is_told():
    row = check_request(make_request(x=[1.0, 2.0, 3.0], x__status=["ok", "timeout", None]), [of()]).failed.iloc[0]
    assert (row.check, row.failed, row.of, row.observed, row.item_id) == ("status", 1, 2, "'timeout'", "b")


def test_a_feature_of_another_task_may_be_missing():
    contract = of(missing="never", tasks=("search",))
    assert ("x", "missing") not in outcomes(make_request(x=[None]), contract)
    assert outcomes(make_request(x=[None], request={"task": "search"}), contract)["x", "missing"] == "failed"


def test_a_sentinel_of_another_task_must_not_be_missing():
    contract = of(missing="never", tasks=("search",), sentinel=-1.0)
    assert outcomes(make_request(x=pa.array([None], pa.float64())), contract)["x", "sentinel"] == "failed"


def test_vectors_have_no_range():
    assert check_request(make_request(x=[[1.0, 2.0], [3.0]]), [of(missing="never")]).failed.empty


def test_whole_numbers_above_2_to_the_53_are_compared():
    big = 2**53 + 1
    assert outcomes(make_request(x=[big]), of(min=0.0, recompute="y", tolerance=0.0)) == {
        ("x", "logged"): "ok",
        ("x", "type"): "ok",
        ("x", "range"): "ok",
    }
    assert outcomes(make_request(x=[big], y=[big]), of(recompute="y"))["x", "recomputed"] == "ok"


def test_every_check_has_one_row_a_feature_whatever_the_number_of_candidates():
    rows = check_request(make_request(x=[0.5] * 200), [of(min=0.0, max=1.0)]).rows
    assert len(rows) == len(set(rows["check"])) == 8
    assert rows.set_index("check").loc["range", ["outcome", "of", "observed", "expected"]].tolist() == ["ok", 200, "0.5", "0 to 1"]


def test_duplicate_items_and_unicode_are_checked_as_they_are():
    row = check_request(make_request(items=["ü", "ü"], x=[0.5, 9.0]), [of(max=1.0)]).failed.iloc[0]
    assert (row.failed, row.item_id) == (1, "ü")


def test_the_json_document_is_plain():
    import json

    document = check_request(make_request(x=[0.2, 7.0]), [of(min=0.0, max=1.0, unit="share", owner="stats", upstream="daily")]).as_json()
    assert json.loads(json.dumps(document, allow_nan=False))["checks"][0] == {
        "feature": "x",
        "check": "range",
        "outcome": "failed",
        "failed": 1,
        "of": 2,
        "observed": "7",
        "expected": "0 to 1",
        "unit": "share",
        "owner": "stats",
        "upstream": "daily",
        "item_id": "b",
        "text": "x is 7 share on 1 of 2 candidates, expected 0 to 1",
        "root": "x",
    }


def test_nothing_to_check_says_so():
    assert check_request(make_request(x=[1.0]), []).sentence == (
        "Nothing could be checked: there is no feature contract and no training sample."
    )


@pytest.mark.parametrize("kind", [pa.null(), pa.string(), pa.float64()])
def test_a_column_without_values_has_no_type(kind):
    request = make_request(x=pa.nulls(2, kind))
    rows = check_request(request, [of(min=0.0, missing="never")]).rows.set_index("check")
    assert tuple(rows.loc["type", ["outcome", "observed"]]) == ("not_applicable", "null in every row")
    assert tuple(rows.loc["missing", ["outcome", "failed"]]) == ("failed", 2)
    allowed = outcomes(request, of(values=("tv",), missing="allowed"))
    assert set(allowed.values()) == {"ok"}


def test_a_request_without_a_time_has_values_of_no_age():
    request = make_request(x=[1.0], x__at=pa.array([NOON], pa.timestamp("us", "UTC")), request={"served_at": None})
    rows = check_request(request, [of(max_age_s=1.0)]).rows.set_index("check")
    assert tuple(rows.loc["age", ["outcome", "observed"]]) == ("not_applicable", "the request has no time")
