"""Which series an incident is named after."""

import numpy as np

from diagnosis.detect.episodes import Episode
from diagnosis.detect.panel import INPUTS, OUTCOMES, OUTPUTS, SERVING, Panel, Series
from diagnosis.detect.telling import leading

ONES = np.ones((5, 3))
PANEL = Panel(
    (
        Series("mean:price", "mean:price", "", INPUTS, "number"),
        Series("calibration", "calibration", "", OUTCOMES, "ratio"),
        Series("ctr", "ctr", "", OUTCOMES, "share", better="up"),
        Series("fallback_rate", "fallback_rate", "", SERVING, "share", better="down"),
        Series("score_mean", "score_mean", "", OUTPUTS, "number"),
    ),
    0,
    *(ONES,) * 6,
    np.full(5, 3),
)


def lead(**z):
    group = [Episode(i, 0, 2, 0, 1, z[s.name.partition(":")[0]], 0.0) for i, s in enumerate(PANEL.series) if s.name.partition(":")[0] in z]
    return PANEL.series[leading(PANEL, group).series].name


def test_the_clearest_harm_leads_and_not_what_moved_most_without_a_direction():
    assert lead(mean=40.0, calibration=-30.0, ctr=-6.0, score_mean=20.0) == "ctr"
    assert lead(ctr=-6.0, fallback_rate=25.0) == "fallback_rate"


def test_a_metric_that_got_better_does_no_harm():
    assert lead(ctr=12.0, fallback_rate=6.0) == "fallback_rate"
    assert lead(ctr=12.0, score_mean=20.0) == "ctr"


def test_an_input_leads_only_where_nothing_else_moved():
    assert lead(mean=40.0, score_mean=6.0) == "score_mean"
    assert lead(mean=40.0) == "mean:price"
