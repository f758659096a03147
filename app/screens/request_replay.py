"""Tab of a request: does the model give the same scores, do the rules give the same page?"""

from __future__ import annotations

import math

import streamlit as st

from app import charts, load, views
from app.state import View
from diagnosis.reproduce.agreement import NOT_REPLAYABLE
from diagnosis.reproduce.result import STAGES, Replay

_NAMES = ["item", "title", "logged_position", "replayed_position", "logged", "replayed", "difference", "logged_rank", "replayed_rank"]


def show(view: View, held: load.Bench, found: load.Diagnosis) -> None:
    """Logged beside replayed."""
    replay = found.replay
    views.steps(stages(replay))
    for reason in replay.reasons:
        views.note("unknown" if replay.verdict == "not_replayable" else "bad", reason[:1].upper() + reason[1:] + ".")
    for problem in replay.problems:
        if not any(problem.text.rstrip(".") in reason for reason in replay.reasons):
            views.note("unknown", problem.text)
    gap = views.number(replay.gap) if not math.isnan(replay.gap) else "–"
    views.facts(
        [
            ("verdict", replay.verdict.replace("_", " ")),
            ("largest difference (raw score)", gap),
            ("tolerance (raw score)", views.number(replay.tolerance)),
            ("noise of scoring here (raw score)", views.number(replay.noise_floor)),
            ("candidates", f"{len(replay.rows)} logged of {replay.candidates_total}, {replay.scored} scored"),
        ]
    )
    if len(replay.stages):
        views.heading("Stages of the model", "what each made of the candidates that came to it")
        views.table(
            replay.stages.reset_index(), "Stages of the composite model, logged and replayed", "model-stages", rows=6, columns=_STAGES
        )
    rows = found.listing.reset_index(names="item")
    drawn = rows[rows["logged"].notna() & rows["logged_rank"].notna()]
    views.heading("Scores")
    if len(drawn):
        views.chart(charts.scores(drawn.drop(columns=["before", "after"]), replay.verdict))
    else:
        views.empty("No candidate has a logged score.", "Nothing can be compared.")
    views.heading("Candidates", "as on the page, then by rank")
    more = [c for c in ("logged_dropped_by", "replayed_dropped_by", "retrievers") if rows[c].notna().any()]
    views.table(rows[[*_NAMES, *more]], "Candidates with logged and replayed score, rank and position", "replay", rows=14, columns=COLUMNS)


def stages(replay: Replay) -> list[tuple[str, str, str]]:
    """Stages up to the first at which log and replay part; those after it follow from it. What was not replayed is not known to agree."""
    if replay.first_stage is None:
        paged = replay.ruleset and replay.rows["logged_position"].notna().any()
        known = len(STAGES) if paged else STAGES.index("rules")
        known = 0 if replay.verdict == NOT_REPLAYABLE else known
        return [(stage, *(("passed", "as logged") if i < known else ("not_known", "not replayed"))) for i, stage in enumerate(STAGES)]
    place = STAGES.index(replay.first_stage)
    outcome = ["passed"] * place + ["stopped"] + ["not_reached"] * (len(STAGES) - place - 1)
    text = ["as logged"] * place + ["log and replay part here"] + ["follows from it"] * (len(STAGES) - place - 1)
    return list(zip(STAGES, outcome, text, strict=True))


_STAGES = {
    "logged": st.column_config.NumberColumn("candidates with a logged score"),
    "replayed": st.column_config.NumberColumn("candidates with a replayed score"),
    "gap": st.column_config.NumberColumn("largest difference (raw score)", format="%.3g"),
    "dropped": st.column_config.NumberColumn("dropped, as logged"),
    "same": st.column_config.CheckboxColumn("same"),
    "text": st.column_config.TextColumn("what differs"),
}
COLUMNS = {
    "item": st.column_config.TextColumn("item"),
    "logged_position": st.column_config.NumberColumn("position"),
    "replayed_position": st.column_config.NumberColumn("position, replayed"),
    "logged": st.column_config.NumberColumn("score (raw)", format="%.6g"),
    "replayed": st.column_config.NumberColumn("score, replayed (raw)", format="%.6g"),
    "difference": st.column_config.NumberColumn("difference (raw score)", format="%.3g"),
    "logged_rank": st.column_config.NumberColumn("rank"),
    "replayed_rank": st.column_config.NumberColumn("rank, replayed"),
    "logged_dropped_by": st.column_config.TextColumn("dropped by"),
    "replayed_dropped_by": st.column_config.TextColumn("dropped by, replayed"),
}
