"""One hotfix: who signed, publishing, undo, and whether the metric came back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import streamlit as st

from app import charts_windows, load, load_fix, state, views
from app.screens.fix_options import picture
from app.state import View
from diagnosis.errors import HotfixError
from diagnosis.localize.windows import Window, parse_window
from diagnosis.resolve import ledger
from diagnosis.resolve.document import Prepared
from diagnosis.resolve.keys import Trust, signers

_TONES = {"prepared": "unknown", "published": "good", "undone": "info", "replaced": "info", "expired": "info"}


def show(view: View, held: load.Bench) -> None:
    """Draw the screen of one hotfix."""
    assert view.hotfix is not None
    views.title("Hotfix", "fix", str(view.hotfix))
    record = ledger.record(held.workbench.state, held.id, view.hotfix)
    trust = _trust()
    _head(view, record, trust)
    with views.guarded():
        _hand(held, record, trust)
    with views.guarded():
        _came_back(held, record)
    if record.rehearsal.get("whole"):
        views.heading("Rehearsal", str(record.rehearsal.get("sentence", "")))
        with views.guarded():
            picture(dict(record.rehearsal), "record")
    elif record.rehearsal.get("unrehearsed"):
        views.note("bad", f"Not rehearsed: {record.rehearsal['unrehearsed']}", f"It may go out because: {record.rehearsal['because']}")


def _trust() -> Trust | None:
    try:
        return load_fix.trust()
    except HotfixError as error:
        views.note("bad", error.message, error.hint)
        return None


def _head(view: View, record: ledger.Record, trust: Trust | None) -> None:
    fix, status = record.prepared.fix, record.state_at(datetime.now(UTC))
    views.banner(_TONES[status], [(_TONES[status], f"{status.capitalize()}: {fix.reason}")])
    done = len(signers(record.prepared, trust)) if trust else 0
    need = trust.threshold if trust else 0
    full = bool(trust) and done >= need
    steps = [
        ("prepared", "passed", f"{fix.created_at:%d %b %H:%M} by {record.actor}"),
        ("signed", "passed" if full else "stopped", f"{done} of {need} signatures" if trust else "nobody is trusted yet"),
        (
            "published",
            "passed" if record.published_at else "not_reached",
            f"{record.published_at:%d %b %H:%M}" if record.published_at else "",
        ),
        ("undone", "passed" if record.undone_at else "not_reached", f"{record.undone_at:%d %b %H:%M}" if record.undone_at else ""),
    ]
    views.steps(steps)
    st.html(
        f'<ul class="dx-seen">{"".join(f"<li>{views.prose(a.sentence)}</li>" for a in fix.actions) or "<li>takes everything back</li>"}</ul>'
    )
    views.facts(
        [
            ("environment", fix.environment),
            ("until", fix.expires_at),
            ("cap", f"{fix.max_share:.0%} of the requests"),
            ("case", fix.case or "none"),
            ("signed by", ", ".join(trust.names(signers(record.prepared, trust))) if trust and done else "nobody yet"),
            ("published at", record.address or "–"),
        ]
    )
    if fix.case:
        state.link("case", View(workspace=view.workspace, case=fix.case), "Its case", ":material/folder_open:")


def _hand(held: load.Bench, record: ledger.Record, trust: Trust | None) -> None:
    """What can be done with it now."""
    now, serial = datetime.now(UTC), record.serial
    status, undone = record.state_at(now), f"fix-{serial}.json"
    if status == ledger.PREPARED:
        _sign(held, record, trust, undone)
    full = trust is not None and len(signers(record.prepared, trust)) >= trust.threshold
    if status == ledger.PREPARED:
        why = "" if full else "every signature must be there first"
        refused = str(record.rehearsal.get("refused") or "")
        if st.button("Publish", type="primary", icon=":material/publish:", disabled=not full or bool(refused), help=why or refused or None):
            assert trust is not None
            ledger.publish(held.workbench.state, held.id, serial, trust)
            st.rerun()
    elif status == ledger.PUBLISHED and st.button(
        "Undo", type="primary", icon=":material/undo:", disabled=not full, help="Publishes the undo that was signed with it"
    ):
        assert trust is not None
        ledger.publish(held.workbench.state, held.id, serial, trust, undo=True)
        st.rerun()


def _sign(held: load.Bench, record: ledger.Record, trust: Trust | None, name: str) -> None:
    views.heading("Sign", "with keys that this workbench never sees")
    left, right = st.columns(2)
    with left:
        views.quiet("1. Whoever signs downloads the file and runs this on their own machine; it signs the fix and its undo.")
        st.download_button(
            "Download the file to sign", record.prepared.as_bytes(), name, "application/json", icon=":material/download:", on_click="ignore"
        )
        st.code(f"diagnosis hotfix sign {name} --key YOUR-KEY.pem", language="sh", wrap_lines=True)
    with right:
        views.quiet("2. The signed file comes back here; signatures of several files add up.")
        sent = st.file_uploader(
            "Signed files", type=["json"], accept_multiple_files=True, key=f"signed-{record.serial}-{st.session_state.get('taken', 0)}"
        )
        if sent and trust is not None:
            for file in sent:
                ledger.add_signatures(held.workbench.state, held.id, Prepared.from_bytes(file.getvalue()), trust)
            st.session_state["taken"] = st.session_state.get("taken", 0) + 1  # a field of its own for the next ones
            st.rerun()


def _came_back(held: load.Bench, record: ledger.Record) -> None:
    """The metric since the fix went out, and over time with the moments of the fix."""
    if record.published_at is None or not record.watch.get("metric"):
        return
    views.heading("Does the metric come back?", record.watch["metric"])
    seen = load_fix.recovery(held, record)
    if seen is not None:
        tones = {"came_back": "good", "partly": "unknown", "not_yet": "unknown", "too_few": "unknown", "worse": "bad"}
        views.note(tones[seen.verdict], seen.sentence)
    log = load.log_window(held)
    baseline, incident = parse_window(record.watch["baseline"]), parse_window(record.watch["incident"])
    if log is None:
        return
    end = max(incident.until, log[1] + timedelta(seconds=1))
    drawn = load.series(held, record.watch["metric"], "", Window(baseline.since, end))
    marks = [
        (at, "hotfix", str(record.serial), word) for at, word in ((record.published_at, "published"), (record.undone_at, "undone")) if at
    ]
    changes = pd.DataFrame([m for m in marks if m[0] < end], columns=["changed_at", "kind", "target", "note"])
    windows = pd.DataFrame(
        [("baseline", baseline.since, baseline.until), ("incident", incident.since, incident.until)], columns=["which", "since", "until"]
    )
    share = drawn.metric.unit == "share"
    title = drawn.metric.name if share else f"{drawn.metric.name} ({drawn.metric.unit})"
    chart = charts_windows.over_time(drawn.rows, drawn.usual(baseline), windows, changes, title=title, per=drawn.per, share=share)
    views.chart(chart, key="fix-over-time")
    if len(changes) < len(marks):
        views.quiet("The fix went out after the last logged request; its mark appears once requests since then are logged.")
