"""What surrounded a request."""

import math
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from diagnosis.errors import SettingsError
from diagnosis.reproduce import Workbench
from diagnosis.reproduce.circumstances import circumstances, environments
from diagnosis.store import Workspace
from diagnosis.testing import make_request

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def bench(tmp_path):
    made = Workspace.create(tmp_path / "w", id="w")
    made.environments_file.write_text(
        "[environment.eu]\nsla_ms = 200\nregion = 'eu'\n[environment.us]\nsla_ms = {homepage = 50}\n[environment.ap]\ncache_s = 3\n"
    )
    times = [AT - timedelta(days=8), AT - timedelta(hours=6), AT, AT + timedelta(hours=1)]
    made.replace(
        "changes", pa.table({"changed_at": pa.array(times, pa.timestamp("us", "UTC")), "kind": ["code"] * 4, "target": list("abcd")})
    )
    return Workbench.open(tmp_path / "w")


def asked(bench, **request):
    return circumstances(bench, make_request(score=[1.0], request=request))


@pytest.mark.parametrize(
    ("request_row", "in_time", "sentence"),
    [
        ({"environment": "eu", "latency_ms": 200.0}, True, "Served in 200 ms, within the limit of 200 ms."),
        ({"environment": "eu", "latency_ms": 201.0}, False, "Served in 201 ms, over the limit of 200 ms."),
        ({"environment": "us", "latency_ms": 60.0}, False, "Served in 60 ms, over the limit of 50 ms."),
        ({"environment": "us", "latency_ms": 60.0, "task": "search"}, None, "Served in 60 ms; its environment sets no limit."),
        ({"environment": "ap", "latency_ms": 60.0}, None, "Served in 60 ms; its environment sets no limit."),
        ({"latency_ms": 60.0}, None, "Served in 60 ms; its environment sets no limit."),
        ({"environment": "eu"}, None, "How long it took was not logged."),
    ],
)
def test_the_time_it_took_is_held_against_the_limit_of_its_task(bench, request_row, in_time, sentence):
    found = asked(bench, **request_row)
    assert found.in_time is in_time
    assert found.sentence == sentence


def test_a_latency_that_is_no_number_is_not_in_time(bench):
    assert asked(bench, environment="eu", latency_ms=math.nan).in_time is None


def test_changes_of_the_week_before_come_latest_first(bench):
    found = asked(bench)
    assert found.changes["target"].tolist() == ["c", "b"]
    assert found.changes["hours_before"].tolist() == [0.0, 6.0]


def test_attributes_stand_by_kind_with_maps_unfolded_and_nulls_left_out(bench):
    found = asked(bench, device="tv", member=None, latency_ms=1.5, experiments=[("layout", "b")])
    rows = found.attributes.set_index("attribute")
    assert rows.loc["experiments.layout"].tolist() == ["b", "versions"]
    assert rows.loc["latency_ms"].tolist() == ["1.5", "serving"]
    assert rows.loc["device"].tolist() == ["tv", "context"]
    assert "member" not in rows.index
    assert rows["kind"].drop_duplicates().tolist() == ["identity", "versions", "serving", "sampling", "context"]


def test_knobs_are_those_of_its_environment(bench):
    assert asked(bench, environment="eu").knobs.values.tolist() == [["sla_ms", "200"], ["region", "eu"]]
    assert asked(bench, environment="elsewhere").knobs.empty


def test_without_a_file_no_environment_is_known(tmp_path):
    Workspace.create(tmp_path / "w", id="w")
    assert environments(Workbench.open(tmp_path / "w")) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [("[environment", "is not TOML"), ("environment = 3", "a table a deployment"), ("[environment]\neu = 3", "a table a deployment")],
)
def test_a_file_that_cannot_be_read_names_itself(bench, text, said):
    bench.workspace.environments_file.write_text(text)
    with pytest.raises(SettingsError, match=said):
        environments(bench)


def test_a_request_without_a_time_has_no_changes_before_it(bench):
    around = asked(bench, served_at=None)
    assert len(around.changes) == 0
    assert list(around.changes["hours_before"]) == []
