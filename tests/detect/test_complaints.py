"""The member's view: surprise by hand, panels, causes planted one by one, and marks that are remembered."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.detect.blame import CACHED, FALLBACK, FEATURE_MISSING, INPUTS, RETRIEVAL, RULES, SCORED_LOW, blame
from diagnosis.detect.complaints import complaints, curve_of, surprise_of
from diagnosis.detect.marks import remembered, say, unsay
from diagnosis.detect.panels import panels
from diagnosis.inputs import Contract
from diagnosis.models import Bundle, Feature
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace, documents
from diagnosis.store.state import marks
from diagnosis.testing import make_request

START = datetime(2026, 5, 4, tzinfo=UTC)
SLOTS = 8


class Log:
    """Requests by hand: each with eight shown items, and what the member chose."""

    def __init__(self):
        self.requests, self.candidates, self.outcomes = [], [], []

    def add(self, at, task="browse", *, member="m", chosen=None, keep=0.5, stratum="all", items=None, status="ok"):
        number = len(self.requests)
        request_id, items = f"r{number}", items or [f"i{k}" for k in range(SLOTS)]
        self.requests.append(
            {
                "request_id": request_id,
                "served_at": START + timedelta(seconds=at),
                "task": task,
                "status": status,
                "member": member,
                "stratum": stratum,
                "slots": SLOTS,
                "keep_probability": keep,
            }
        )
        for place, item in enumerate(items, 1):
            shown = place if place <= SLOTS else None
            self.candidates.append({"request_id": request_id, "item_id": item, "rank": place, "score": float(-place), "position": shown})
        for place in chosen or ():
            happened = START + timedelta(seconds=at + 5)
            self.outcomes.append({"request_id": request_id, "item_id": items[place - 1], "event": "click", "happened_at": happened})
        return request_id

    def open(self, folder, **settings):
        made = Workspace.create(folder, id="members", **settings)
        kind = pa.timestamp("us", "UTC")

        def table(rows):
            names = rows[0].keys()
            return pa.table({n: pa.array([r[n] for r in rows], kind if n.endswith("_at") else None) for n in names})

        made.append(requests=table(self.requests), candidates=table(self.candidates), outcomes=table(self.outcomes))
        return Workbench.open(folder)


def usual(log, n=128, **more):
    """Choices at the first place, half as often at the second, and so on."""
    rng = np.random.default_rng(0)
    for i in range(n):
        log.add(i * 60, member=f"u{i}", chosen=[1 + int(min(rng.geometric(0.7), 3) - 1)], **more)


def test_surprise_is_the_share_of_choices_that_fall_so_low_in_bits():
    curve = curve_of(np.array([1, 1, 1, 1, 2, 2, 3, 8]), np.ones(8))
    assert [surprise_of(curve, place) for place in (1, 2, 3, 8)] == [0.0, 1.0, 2.0, 3.0]
    assert surprise_of(curve, 5) == 3.0
    assert surprise_of(curve, 9) == np.inf
    weighted = curve_of(np.array([1, 8]), np.array([3.0, 1.0]))
    assert surprise_of(weighted, 8) == 2.0


def test_a_choice_far_down_the_page_is_found_and_usual_ones_are_not(tmp_path):
    log = Log()
    usual(log)
    low = log.add(10_000, member="odd", chosen=[8])
    both = log.add(10_100, member="odd", chosen=[1, 8])
    found = complaints(log.open(tmp_path / "w"))
    assert [c.request_id for c in found.complaints] == [low]
    (one,) = found.complaints
    assert both not in {c.request_id for c in found.complaints}
    assert (one.kind, one.item, one.position, one.rank, one.member, one.weight) == ("chosen_low", "i7", 8, 8, "odd", 2.0)
    assert one.surprise == pytest.approx(np.log2(130))
    assert (one.cause, one.text) == (SCORED_LOW, "rank 8, position 8")


def test_nothing_unusual_is_an_empty_inbox(tmp_path):
    log = Log()
    usual(log)
    found = complaints(log.open(tmp_path / "w"))
    assert found.complaints == ()
    assert found.requests == 128
    assert len(found.groups) == 0


def test_too_few_choices_make_no_curve_and_it_says_so(tmp_path):
    log = Log()
    usual(log, 20)
    log.add(10_000, chosen=[8])
    found = complaints(log.open(tmp_path / "w"))
    assert found.complaints == ()
    assert "browse has 21 choices in the sample, too few to say which place is low" in found.notes


def test_a_panel_member_who_searches_for_what_the_page_lacked_is_found(tmp_path):
    log = Log()
    usual(log)
    page = log.add(20_000, member="p", stratum="panel", keep=0.1)
    search = log.add(20_120, "search", member="p", stratum="panel", keep=0.1, items=["wanted", "i1"], chosen=[1])
    log.add(30_000, member="q", stratum="panel", keep=0.1)
    log.add(30_060, "search", member="q", stratum="panel", keep=0.1, items=["i3"], chosen=[1])  # was on the page
    log.add(40_000, member="s", stratum="panel", keep=0.1)
    log.add(41_000, "search", member="s", stratum="panel", keep=0.1, items=["other"], chosen=[1])  # much later
    log.add(50_000, member="t")
    log.add(50_060, "search", member="t", items=["third"], chosen=[1])  # of no panel
    found = complaints(log.open(tmp_path / "w", panel={"strata": ["panel"]}))
    (one,) = [c for c in found.complaints if c.kind == "searched"]
    assert (one.request_id, one.search, one.item, one.position, one.weight) == (page, search, "wanted", 0, 10.0)
    assert one.surprise == pytest.approx(np.log2(3))
    assert (one.cause, one.text) == (RETRIEVAL, "it is not among the 8 candidates")


def test_without_a_panel_nobody_is_said_to_have_searched_after(tmp_path):
    log = Log()
    usual(log)
    log.add(20_000, member="p")
    log.add(20_060, "search", member="p", items=["wanted"], chosen=[1])
    found = complaints(log.open(tmp_path / "w"))
    assert found.complaints == ()
    assert "no stratum is said to be a panel of members ([panel] strata), and none keeps every request" in found.notes


def test_a_stratum_that_keeps_everything_is_a_panel_and_one_whose_rate_changed_is_not(tmp_path):
    log = Log()
    rates = [("all", 1.0), ("all", 1.0), ("named", 0.1), ("named", 0.2), ("other", 0.5), ("drawn", 0.3), ("drawn", 1.0)]
    for i, (stratum, keep) in enumerate(rates):
        log.add(i, stratum=stratum, keep=keep)
    log.outcomes.append({"request_id": "r0", "item_id": "i0", "event": "click", "happened_at": START})
    bench = log.open(tmp_path / "w", panel={"strata": ["named", "absent", "drawn"]})
    found = panels(bench, START, START + timedelta(days=1))
    assert found.rates == {"all": 1.0, "drawn": 0.3}
    assert found.notes == ("stratum named is no panel: its rate changed", "no request of stratum absent is logged here")


def test_volumes_say_which_stratum_draws_members_and_what_is_always_kept_says_nothing_of_the_rest(tmp_path):
    log = Log()
    usual(log)
    page = log.add(20_000, member="p", stratum="panel", keep=0.1)
    log.add(20_060, "search", member="p", stratum="panel", keep=0.1, items=["wanted"], chosen=[1])
    log.add(30_000, member="q", stratum="panel", keep=1.0, status="error")  # kept because it failed, whoever asked
    log.add(30_060, "search", member="q", stratum="panel", keep=0.1, items=["other"], chosen=[1])
    bench = log.open(tmp_path / "w")
    hour = pa.array([START, START], pa.timestamp("us", "UTC"))
    volumes = {"hour": hour, "stratum": ["panel", "all"], "unit": ["member", None], "seen": [40, 300], "kept": [4, 128], "lost": [0, 0]}
    more = log.add(40_000, member="z")
    requests, candidates = ([row for row in rows if row["request_id"] == more] for rows in (log.requests, log.candidates))
    times = [r["served_at"] for r in requests]
    bench.workspace.append(
        requests=pa.table({**{k: [r[k] for r in requests] for k in requests[0]}, "served_at": pa.array(times, pa.timestamp("us", "UTC"))}),
        candidates=pa.table({k: [r[k] for r in candidates] for k in candidates[0]}),
        volumes=pa.table(volumes),
    )
    bench = bench.refreshed()
    assert panels(bench, START, START + timedelta(days=1)).rates == {"panel": 0.1}
    assert [c.request_id for c in complaints(bench).complaints if c.kind == "searched"] == [page]


def test_one_member_and_one_task_are_judged_by_the_curve_of_everybody(tmp_path):
    log = Log()
    usual(log)
    mine = log.add(10_000, member="odd", chosen=[8])
    log.add(10_100, member="even", chosen=[8])
    bench = log.open(tmp_path / "w")
    assert [c.request_id for c in complaints(bench, member="odd").complaints] == [mine]
    assert complaints(bench, task="nothing").complaints == ()


def test_marks_are_remembered_undone_and_name_neither_member_nor_item(tmp_path):
    log = Log()
    usual(log)
    log.add(10_000, member="secret", chosen=[8])
    bench = log.open(tmp_path / "w")
    found = complaints(bench)
    (one,) = found.complaints
    say(bench.state, "members", one, "not_a_problem")
    again = remembered(bench.state, "members", complaints(bench))
    assert (again.open, [c.said for c in again.handled]) == ((), ["not_a_problem"])
    kept = documents.listed(bench.state, marks, "members")[0]
    assert "secret" not in str(kept)
    assert "i7" not in str(kept)
    assert remembered(bench.state, "elsewhere", found).handled == ()
    assert unsay(bench.state, "members", one.key)
    assert remembered(bench.state, "members", found).handled == ()
    with pytest.raises(ValueError, match="not 'maybe'"):
        say(bench.state, "members", one, "maybe")


def page(n=8, **changed):
    facts = {"slots": 4, **changed.pop("request", {})}
    return make_request(request=facts, price=changed.pop("price", [1.0] * n), score=list(range(n, 0, -1)), **changed)


CONTRACT = Contract("price", "candidates.price", max=5.0, missing="never", upstream="prices")
BUNDLE = Bundle(None, "linear", "1", "sklearn", "none", features=(Feature("price", "candidates.price"),))


def test_causes_one_by_one():
    def why(request, item, contracts=(), bundle=None):
        return blame(request, item, contracts, bundle)[0]

    assert why(page(request={"status": "fallback"}), "h") == FALLBACK
    assert why(page(request={"status": "cached"}), "h") == CACHED
    assert why(page(), "nowhere") == RETRIEVAL
    assert why(page(price=[50.0] * 8), "h", [CONTRACT]) == INPUTS
    assert why(page(price=[None] * 8), "h", [CONTRACT]) == FEATURE_MISSING
    assert why(page(price=[1.0] * 7 + [None]), "h", (), BUNDLE) == FEATURE_MISSING
    assert why(page(rank=list(range(1, 9)), position=[6, 1, 2, 3, 4, 5, None, None]), "a") == RULES
    assert why(page(rank=list(range(1, 9)), position=[None, 1, 2, 3, 4, None, None, None], dropped_by=["seen"] + [None] * 7), "a") == RULES
    assert why(page(), "h", [CONTRACT], BUNDLE) == SCORED_LOW
    assert why(page(rank=list(range(1, 9)), position=[1, 2, 3, 4] + [None] * 4), "h") == SCORED_LOW


def test_a_value_of_another_candidate_that_is_out_of_contract_is_no_cause():
    assert blame(page(price=[50.0] + [1.0] * 7), "h", [CONTRACT], None)[0] == SCORED_LOW
    assert blame(page(price=[50.0] + [1.0] * 7), "a", [CONTRACT], None)[0] == INPUTS
