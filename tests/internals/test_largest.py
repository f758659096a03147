"""The few effects that matter, and the sum of the rest."""

import pandas as pd

from diagnosis.internals import largest


def test_the_largest_effects_keep_their_total():
    rows = pd.DataFrame({"x": [1.0, -4.0, 2.0, 0.5], "value": list("abcd")}, index=pd.Index(list("pqrs"), name="feature"))
    few = largest(rows, "x", 2)
    assert few["feature"].tolist() == ["q", "r", "2 other features"]
    assert few["x"].tolist() == [-4.0, 2.0, 1.5]
    assert few["value"].tolist() == ["b", "c", None]
    assert largest(rows, "x", 3)["feature"].tolist() == ["q", "r", "p", "s"]
    assert largest(rows.head(0), "x").empty
