"""Charts and small views."""

import pandas as pd

from app import charts, views


def test_charts_name_their_axes_with_units():
    rows = pd.DataFrame({"item": ["a"], "logged": [1.0], "replayed": [1.0]})
    spec = charts.score_gap(rows).to_dict()
    assert spec["layer"][1]["encoding"]["x"]["title"] == "logged score (raw)"
    bars = charts.contributions(pd.DataFrame({"feature": ["p"], "contribution": [1.0], "value": ["2"]})).to_dict()
    assert bars["layer"][0]["encoding"]["x"]["title"] == "contribution to the raw score"


def test_a_download_cannot_be_a_formula():
    frame = pd.DataFrame({"=cmd()": ["=1+1", "+1", "-1", "@x", "fine"], "n": [-1.0, 1.0, 2.0, 3.0, 4.0]})
    assert views.csv(frame).decode().splitlines() == ["'=cmd(),n", "'=1+1,-1.0", "'+1,1.0", "'-1,2.0", "'@x,3.0", "fine,4.0"]


def test_text_from_logs_is_escaped_for_markdown():
    assert views.text("a_b [x](y) <i> $x$ :red[z]\nnew") == r"a\_b \[x\]\(y\) \<i\> \$x\$ \:red\[z\] new"
