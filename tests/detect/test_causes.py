"""What detection asks the localizer."""

import numpy as np

from diagnosis.detect.causes import localized, who_acts
from diagnosis.detect.messages import link
from tests.detect.told import made
from tests.localize import market as m


def broken(folder):
    """Discounts that say nothing any more in the second half."""
    market = m.Market(n=3000)
    market.discount = np.where(market.late[:, None], market.discount * 100, market.discount)
    return m.open_market(folder, market, m.boosters())


def test_where_the_leading_series_does_not_tell_the_cause_another_that_moved_with_it_does(tmp_path):
    bench = broken(tmp_path / "market")
    alone = made(metric="fallback_rate", where="", since=m.INCIDENT.since, seen_at=m.INCIDENT.until, series=("fallback_rate|",))
    nothing = localized(bench, alone)
    assert (nothing.cause, nothing.asked) == (None, ("fallback_rate", ""))
    both = made(
        metric="fallback_rate", where="", since=m.INCIDENT.since, seen_at=m.INCIDENT.until, series=("breach:discount|", "score_mean|")
    )
    found = localized(bench, both)
    assert (found.cause["component"], found.cause["target"], found.verdict) == ("feature", "discount", "cause_found")
    assert found.metric == "fallback_rate"
    assert found.asked == ("score_mean", "")
    assert found.evidence[-1] == "The cause is that of score_mean, which moved with it."
    assert who_acts(found) == "pricing-team"
    assert "metric=score_mean" in link(found, "market", "")
    assert type(found).from_json(found.as_json()).asked == found.asked
