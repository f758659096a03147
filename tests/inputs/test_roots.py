"""One cause, not ten: what a failure goes back to."""

import pytest

from diagnosis.inputs import Contract, check_request
from diagnosis.testing import make_request


def of(name, **values):
    return Contract(name, f"candidates.{name}", **values)


CTR = of("ctr", min=0.0, max=1.0, recompute="clicks / nullif(shown, 0)", tolerance=1e-9, upstream="stats")
CLICKS, SHOWN = of("clicks", min=0.0, missing="never", upstream="stats"), of("shown", min=0.0, missing="never", upstream="stats")


def roots(request, *contracts):
    return check_request(request, contracts).roots


def test_a_derived_feature_that_disagrees_with_its_recipe_broke_by_itself():
    request = make_request(ctr=[50.0], clicks=[1.0], shown=[2.0])
    assert roots(request, CTR, CLICKS, SHOWN) == ["ctr"]


def test_a_derived_feature_that_follows_its_broken_parent_folds_under_it():
    request = make_request(ctr=[-0.5], clicks=[-1.0], shown=[2.0])
    checks = check_request(request, [CTR, CLICKS, SHOWN])
    assert checks.failed["root"].tolist() == ["clicks", "clicks"]
    assert checks.failed["feature"].tolist() == ["ctr", "clicks"]


def test_a_broken_parent_does_not_excuse_a_wrong_recipe():
    request = make_request(ctr=[50.0], clicks=[-1.0], shown=[2.0])
    assert sorted(roots(request, CTR, CLICKS, SHOWN)) == ["clicks", "ctr"]


def test_an_outage_is_one_cause():
    request = make_request(ctr=[None, None], clicks=[None, None], shown=[None, None])
    checks = check_request(request, [of("ctr", missing="never", derived_from=("clicks",), upstream="stats"), CLICKS, SHOWN])
    assert checks.roots == ["upstream stats"]
    assert len(checks.failed) == 3


def test_two_of_many_features_do_not_blame_their_upstream():
    contracts = [of(n, missing="never", upstream="daily") for n in "pqrstu"]
    request = make_request(p=[None], q=[None], r=[1.0], s=[1.0], t=[1.0], u=[1.0])
    assert sorted(roots(request, *contracts)) == ["p", "q"]


def test_features_of_other_tasks_do_not_count_towards_their_upstream():
    others = [of(n, missing="never", upstream="daily", tasks=("search",)) for n in "stuvw"]
    contracts = [of(n, missing="never", upstream="daily") for n in "pq"]
    assert roots(make_request(p=[None], q=[None]), *contracts, *others) == ["upstream daily"]


def test_parents_that_name_each_other_do_not_turn_for_ever():
    contracts = [of("p", max=1.0, derived_from=("q",)), of("q", max=1.0, derived_from=("p",))]
    assert len(roots(make_request(p=[2.0], q=[2.0]), *contracts)) in (1, 2)


def test_nothing_wrong_has_no_root():
    checks = check_request(make_request(ctr=[0.5], clicks=[1.0], shown=[2.0]), [CTR, CLICKS, SHOWN])
    assert (checks.roots, set(checks.rows["root"])) == ([], {""})


@pytest.mark.parametrize("clicks", [None, float("nan")])
def test_a_recipe_is_not_judged_where_a_parent_is_missing(clicks):
    checks = check_request(make_request(ctr=[0.0], clicks=[clicks], shown=[2.0]), [CTR])
    assert checks.rows.set_index("check").loc["recomputed", "outcome"] == "not_applicable"


def test_a_recipe_that_gives_nothing_from_parents_that_are_there_is_judged():
    checks = check_request(make_request(ctr=[0.0], clicks=[0.0], shown=[0.0]), [CTR])
    row = checks.failed.iloc[0]
    assert (row.check, row.observed, row.expected) == ("recomputed", "0", "missing = clicks / nullif(shown, 0)")
