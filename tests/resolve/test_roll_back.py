"""A deployment that is put back ends what began with it, as far as replay can put that back."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.metrics import metric
from diagnosis.reproduce import Workbench
from diagnosis.resolve.actions import parse_action
from diagnosis.resolve.options import Trouble, options
from diagnosis.resolve.rehearsal import rehearse
from diagnosis.resolve.scene import open_scene
from tests.localize import market as m
from tests.resolve.stall import open_stall

CAUSE = {"component": "serving", "target": "scoring", "slice": {"channel": ["app"]}, "since": m.INCIDENT.since.isoformat()}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """One channel is scored by another version than the log says, and one is sorted the wrong way round, since a deployment; another
    deployment came long before."""
    market = m.Market(n=3000)
    market.spoil["scored_by"] = np.where(market.late & (market.channel == m.CHANNELS.index("app")), "1", "2").astype(object)
    market.ascending = market.late & (market.channel == m.CHANNELS.index("kiosk"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIAGNOSIS_SECRET", "stall")
        made = open_stall(tmp_path_factory.mktemp("stall") / "stall", market, m.boosters())
        at = [m.INCIDENT.since - timedelta(days=2), m.INCIDENT.since - timedelta(minutes=20)]
        changes = {"kind": ["code", "code"], "target": ["pager", "ranker"], "before": ["3", "7"], "after": ["4", "8"]}
        table = pa.table({"changed_at": pa.array(at, pa.timestamp("us", "UTC")), **changes, "note": ["", ""]})
        made.workspace.replace("changes", table)
        yield Workbench.open(made.workspace.path)


@pytest.fixture(scope="module")
def shown(bench):
    return open_scene(bench, metric("ctr"), m.BASELINE, m.INCIDENT)


def test_the_last_deployment_before_the_onset_is_proposed(bench):
    found = {o.play.name: o for o in options(Trouble(bench, CAUSE, m.BASELINE, m.INCIDENT))}
    assert [str(a) for a in found["roll_back"].actions] == ["roll_back:ranker=7?channel=app"]
    assert found["roll_back"].actions[0].sentence == "put ranker back to 7 where channel=app"


def test_putting_it_back_gives_the_scores_that_the_log_promises(shown):
    made = rehearse(shown, [parse_action("roll_back:ranker=7?channel=app")])
    assert made.whole.verdict == "helped"
    assert made.pages_changed > 0.1
    assert any("taken to end what began" in note and "serving" in note for note in made.notes)


def test_a_sort_the_wrong_way_round_is_turned_in_the_requests_that_show_it(shown):
    made = rehearse(shown, [parse_action("roll_back:ranker=7?channel=kiosk")])
    assert made.whole.verdict == "helped"
    assert any("from the worst score to the best, which 100% of the requests show" in note for note in made.notes)


def test_what_did_not_begin_with_it_is_not_put_back(shown):
    with pytest.raises(CannotSayError, match="Nothing that replay could put back"):
        rehearse(shown, [parse_action("roll_back:pager=3?channel=app")])
    with pytest.raises(CannotSayError, match="No change of 'ranker' from '6'"):
        rehearse(shown, [parse_action("roll_back:ranker=6")])
