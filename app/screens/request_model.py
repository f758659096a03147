"""Tab of a request: which features made a score, and why A stands above B."""

from __future__ import annotations

import streamlit as st

from app import charts, load, load_model, state, views
from app.screens import request_internals
from app.state import View
from diagnosis.internals import Contributions, above, largest
from diagnosis.internals.contributions import place_of
from diagnosis.reproduce.listing import label


def show(view: View, held: load.Bench, found: load.Diagnosis) -> None:
    """The score of one candidate split over features, or the difference of two."""
    stages = load_model.stages(held, found.request, view.what_if)
    if stages:
        chosen = state.bound("explain-stage", view.stage or stages[-1], lambda name: view.but(tab="model", stage=name or ""))
        st.segmented_control("Stage of the model", stages, **chosen)
    given = load.contributions(held, found.request, view.what_if, view.stage)
    if view.edits or view.with_model:
        views.note("info", f"These are the scores of the what-if, not of the log: {view.what_if}.")
        state.link("request", view.but(edits=(), with_model="", with_ruleset=""), "Explain it as logged", ":material/undo:")
    rows = found.listing
    if rows.empty:
        views.empty("No candidate was logged.", "There is no score to explain.")
        return
    order = [item for item in dict.fromkeys(map(str, rows.index)) if item in given.values.index]
    if not order:
        views.empty("No candidate came to this stage.", "Choose another.")
        return
    for name in ("item", "above"):
        if getattr(view, name) and getattr(view, name) not in order:
            views.note(
                "unknown", f"{getattr(view, name)!r} is no candidate of this request, so it has no score to explain.", "Choose one below."
            )
    item = view.item if view.item in order else None if view.item else order[0]
    other = view.above if view.above in order else ""
    names = dict(
        zip(
            rows.index.astype(str),
            [label(str(i), t, p) for i, t, p in zip(rows.index, rows["title"], rows["logged_position"], strict=True)],
            strict=True,
        )
    )
    names = {key: views.plain(text) for key, text in names.items()}
    left, right = st.columns(2)
    pick = state.bound("explain-item", item, lambda v: view.but(item=v or "", tab="model", tree=None))
    left.selectbox("Candidate", order, format_func=names.__getitem__, placeholder="choose a candidate", **pick)
    others = ["", *(i for i in order if i != item)]
    against = state.bound(
        "explain-above", other if other in others else "", lambda v: view.but(item=item or "", above=v or "", tab="model", tree=None)
    )
    right.selectbox("Compared with", others, format_func=lambda v: names[v] if v else "nothing: explain its score", **against)
    if item is None:
        return
    if not given.adds_up:
        views.note("bad", given.sentence, "They are not shown.")
        return
    if other and other != item:
        _compared(given, item, other)
    else:
        _explained(given, item)
    request_internals.show(view, held, found.request, item, other if other != item else "")
    served = str(found.request.row.get("model") or "")
    target = View(workspace=view.workspace, model=served, part="bisect", request=view.request, item=item)
    state.link("model", target, "Through all versions, and to the training rows behind it", ":material/account_tree:")


def _explained(given: Contributions, item: str) -> None:
    row = place_of(given, item)
    mine = given.of(item)
    views.facts(
        [
            (f"score ({given.scale})", views.number(float(given.score[row]))),
            ("base, the same for all candidates", views.number(float(given.base[row]))),
            ("sum of contributions", views.number(float(given.score[row] - given.base[row]))),
            ("residual: how far they are from adding up", f"{given.residual:.1g}"),
            ("method", given.method),
        ]
    )
    drawn = largest(mine.astype({"value": str}), "contribution")
    said = f"Contribution of each feature to the score of {views.plain(item)}, the largest first."
    views.chart(charts.effects(drawn, "contribution", f"contribution ({given.scale})", said))
    columns = {"contribution": st.column_config.NumberColumn(f"contribution ({given.scale})", format="%+.5g")}
    views.table(mine.reset_index().astype({"value": str}), said, "contributions", rows=10, columns=columns)


def _compared(given: Contributions, item: str, other: str) -> None:
    compared = above(given, item, other)
    views.sentence(compared.sentence)
    views.facts(
        [
            (f"margin ({given.scale})", views.number(float(compared.margin))),
            ("residual: how far the differences are from adding up", f"{compared.residual:.1g}"),
            ("features with the same value on both", f"{int(compared.rows['shared'].sum())} of {len(compared.rows)}"),
        ]
    )
    rows = compared.rows.astype({"a": str, "b": str})
    drawn = largest(rows, "difference")
    views.quiet(f"To the right: pushes {item} up; to the left: pushes {other} up.")
    views.chart(charts.effects(drawn, "difference", f"difference ({given.scale})", compared.sentence, ("a", "b")))
    columns = {
        "difference": st.column_config.NumberColumn(f"difference ({given.scale})", format="%+.5g"),
        "a": st.column_config.TextColumn(f"value of {views.plain(item)}"),
        "b": st.column_config.TextColumn(f"value of {views.plain(other)}"),
        "shared": st.column_config.CheckboxColumn("same value"),
    }
    views.table(rows.reset_index(), compared.sentence, "differences", rows=10, columns=columns)
