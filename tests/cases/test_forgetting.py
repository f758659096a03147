"""One member's requests, removed everywhere."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from diagnosis.cases import add_entry, create_case, get_case
from diagnosis.cases.forgetting import KEPT, forget_member
from diagnosis.cases.shares import list_shares, share
from diagnosis.log import RequestLogger
from diagnosis.log.heads import pseudonym, stretched
from diagnosis.store import Query, Workspace, documents, housekeeping

ANNA = pseudonym("anna", stretched(b"key"))
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_MEMBER_KEY", "key")
    workspace = Workspace.create(tmp_path / "w", id="w")
    logger = RequestLogger(workspace.path / "spool", seal_after_s=3600)
    for i, member in enumerate(["anna", "ben", "anna", None]):
        logger.log(f"request-{i}", "home", member=member, served_at=NOON + timedelta(days=i), candidates={"item_id": [f"item-{i}"]})
        logger.outcome(f"request-{i}", f"item-{i}", "click")
    logger.log("request-0", "home", member="anna", served_at=NOON)  # set aside: its id is logged already
    logger.outcome("request-9", "a", "click")
    logger.close()
    workspace.collect()
    return workspace


def everything_on_disk(workspace):
    """All bytes below the workspace, Parquet decoded; state included."""
    found = []
    for file in workspace.path.rglob("*"):
        if file.suffix == ".parquet":
            found.append(repr(pq.ParquetFile(file).read().to_pylist()).encode() + repr(pq.read_metadata(file)).encode())
        elif file.is_file():
            found.append(file.read_bytes())
    return b"".join(found)


def test_a_forgotten_member_is_nowhere_and_the_others_are_as_they_were(made):
    forget_member(made, "anna", now=True)
    snapshot = made.snapshot()
    assert sorted(snapshot.find(Query()).index) == ["request-1", "request-3"]
    assert [snapshot.request(f"request-{i}").items for i in (1, 3)] == [["item-1"], ["item-3"]]
    assert snapshot.health().loc[["candidates", "outcomes"], "rows"].tolist() == [2, 2]
    left = everything_on_disk(made).replace(json.dumps({ANNA: 0})[1:-4].encode(), b"")
    for forgotten in (made.path / "spool/collected").glob("forgotten.json"):  # who is not to be collected again
        left = left.replace(forgotten.read_bytes(), b"")
    assert ANNA.encode() not in left
    assert b"request-0" not in left
    assert b"request-2" not in left
    assert b"request-1" in left


def test_what_was_removed_is_counted(made):
    done = forget_member(made, "anna")
    assert (done.requests, done.candidates, done.outcomes, done.aside) == (2, 2, 2, 1)
    assert done.vacuum_due is not None
    assert forget_member(made, "anna").requests == 0
    assert forget_member(made, ANNA).requests == 0


def test_a_member_that_is_not_there_changes_nothing(made):
    versions = made.snapshot().versions
    done = forget_member(made, "carla")
    assert (done.requests, done.candidates, done.aside, done.cases, done.shares) == (0, 0, 0, 0, 0)
    assert made.snapshot().versions == versions


def test_cases_and_shares_that_name_them_go_and_others_stay(made):
    state = made.state()
    case = create_case(state, "w", "Complaint about request-0")
    other = create_case(state, "w", "Another")
    add_entry(state, "w", case.id, "evidence", "seen", payload={"request_id": "request-2"})
    add_entry(state, "w", case.id, "note", "nothing of theirs, but of request-20")
    share(state, "w", "a page", f"<p>{ANNA}</p>")
    share(state, "w", "another page", "<p>request-1</p>")
    done = forget_member(made, "anna")
    assert (done.cases, done.shares) == (1, 1)
    assert [entry.text for entry in get_case(state, "w", case.id).entries] == ["nothing of theirs, but of request-20"]
    assert get_case(state, "w", case.id).title == "(forgotten)"
    assert get_case(state, "w", other.id).title == "Another"
    assert [s.title for s in list_shares(state, "w")] == ["another page"]
    assert ANNA.encode() not in b"".join(f.read_bytes() for f in made.path.glob("state.db*"))


def test_what_is_still_in_the_spool_is_forgotten_too_and_what_they_do_later_is_not(made):
    logger = RequestLogger(made.path / "spool", seal_after_s=3600)
    logger.log("before", "home", member="anna", served_at=NOON)
    logger.flush()
    forget_member(made, "anna")
    logger.log("after", "home", member="anna", served_at=datetime.now(UTC) + timedelta(seconds=5))
    logger.close()
    assert made.collect().requests == 1
    assert sorted(made.snapshot().find(Query(member=ANNA)).index) == ["after"]


def test_old_files_go_when_the_longest_query_is_over(made):
    before = made.snapshot()
    forget_member(made, "anna")
    assert housekeeping.keep_house(made).vacuumed == 0
    assert before.request("request-0").items == ["item-0"]  # a query that runs finishes on its version
    housekeeping.erase_later(made, datetime.now(UTC) - timedelta(seconds=1))
    housekeeping.keep_house(made)
    log = b"".join(f.read_bytes() for f in (made.path / "logs").rglob("*.json"))
    assert ANNA.encode() not in log
    assert sorted(made.snapshot().find(Query()).index) == ["request-1", "request-3"]


def test_forgetting_again_does_not_put_off_what_is_due(made):
    first = forget_member(made, "anna").vacuum_due
    housekeeping.erase_later(made, datetime.now(UTC) - timedelta(seconds=1))
    later = forget_member(made, "request-1-nobody").vacuum_due
    assert later == first  # nobody was forgotten: nothing new is due
    housekeeping.keep_house(made)
    assert ANNA.encode() not in b"".join(f.read_bytes() for f in (made.path / "logs").rglob("*.json"))
    assert housekeeping.erase_due(made) == first


def test_after_a_member_was_forgotten_at_once_the_log_goes_on(tmp_path):
    import pyarrow as pa

    workspace = Workspace.create(tmp_path / "on", id="on")

    def add(request_id, member):
        requests = {
            "request_id": [request_id],
            "served_at": [NOON],
            "task": ["home"],
            "status": ["ok"],
            "member": [member],
            "keep_probability": [1.0],
        }
        workspace.append(requests=pa.table(requests), candidates=pa.table({"request_id": [request_id], "item_id": ["a"]}))

    add("r1", "leaves")
    forget_member(workspace, "leaves", now=True)
    add("r2", "stays")
    assert workspace.snapshot().count(Query()).kept == 1
    assert not [f for f in workspace.path.rglob("*") if f.is_file() and b"leaves" in f.read_bytes()]


def test_what_detection_and_fixes_keep_of_a_member_is_removed_too(made):
    state = made.state()
    for table in KEPT:
        documents.put(state, table, "w", "theirs", {"where": f"member={ANNA}", "requests": ["request-0"]})
        documents.put(state, table, "w", "another's", {"where": "member=ben", "requests": ["request-1"]})
    assert forget_member(made, "anna", now=True).kept == len(KEPT) == 6
    for table in KEPT:
        assert [d.key for d in documents.listed(state, table, "w")] == ["another's"]
