"""Part of the request screen: which features made a score, and why A stands above B."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app import charts, load, state, views
from diagnosis.internals import above
from diagnosis.internals.contributions import place_of

_BARS = 16


def show(view: state.View, found: load.Diagnosis) -> None:
    """Draw it."""
    given = load.contributions(view.workspace, found.request)
    order = found.replay.rows.sort_values(["logged_position", "logged_rank"], na_position="last").index.astype(str).tolist()
    if not order:
        st.info("There are no candidates to explain.", icon=":material/inbox:")
        return
    for name in ("item", "above"):
        wanted = getattr(view, name)
        if wanted and wanted not in order:
            st.warning(f"This link names {views.text(wanted)}, which is no candidate of this request.", icon=":material/link_off:")
    item = view.item if view.item in order else order[0]
    other = view.above if view.above in order and view.above != item else ""
    left, right = st.columns(2)
    left.selectbox("Candidate", order, **state.control("explain-item", item, lambda v: replace(view, item=v, tab="model")))
    right.selectbox(
        "Compared with",
        ["", *[i for i in order if i != item]],
        format_func=lambda v: v or "nothing: explain its score",
        **state.control("explain-above", other, lambda v: replace(view, item=item, above=v or "", tab="model")),
    )
    if not given.adds_up:
        st.error(
            f"The contributions do not add up to the score (residual {given.residual:.3g}), so they are not shown.", icon=":material/error:"
        )
        return
    if other:
        compared = above(given, item, other)
        st.text(compared.sentence)
        rows = compared.rows.reset_index().rename(columns={"difference": "contribution"})
        rows["value"] = [f"{a} against {b}" for a, b in zip(rows["a"], rows["b"], strict=True)]
        top = rows.head(_BARS)[["feature", "contribution", "value"]]
        views.chart(charts.contributions(top, f"what lifts {item} above {other} (raw score)"), compared.sentence)
        views.table(
            rows[["feature", "contribution", "a", "b", "shared"]].astype({"a": str, "b": str}), "Difference by feature", "difference"
        )
        st.caption(f"Margin {compared.margin:+.6g} raw score; the differences add up to it within {compared.residual:.1g}.")
        return
    mine = given.of(item).reset_index()
    mine["value"] = mine["value"].astype(str)
    row = place_of(given, item)
    score, base = given.score[row], given.base[row]
    views.chart(charts.contributions(mine.head(_BARS)), f"Contributions of features to the score of {item}, the largest first.")
    views.table(mine, "Contribution and value of every feature", "contributions")
    st.caption(
        f"Score {score:.6g} = base {base:.6g} + contributions, on the raw scale; "
        f"they add up within {given.residual:.1g}. Method: {views.text(given.method)}."
    )
