"""Below the contributions of a request: trees, edits that would turn two candidates round, pairs, a local surrogate, layers."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from app import charts, charts_internals, load, load_model, state, views
from app.load_model import Asked
from app.state import View
from diagnosis.internals import largest
from diagnosis.log import Request

_TREES = 12
Panel = Callable[[View, load.Bench, Request, Asked], None]


def show(view: View, held: load.Bench, request: Request, item: str, above: str) -> None:
    """Draw the chooser, and the panel that is chosen; nothing is computed before."""
    asked = Asked(item, above, view.what_if, view.stage)
    offered = _offered(load_model.inside(held, request, asked), bool(above))
    titles = {look: title for look, (title, _) in offered.items()}
    views.heading("Look closer")
    settings = state.bound("explain-look", titles.get(view.look), lambda title: view.but(tab="model", look=_look(titles, title)))
    st.segmented_control("What to look at", list(titles.values()), label_visibility="collapsed", **settings)
    if view.look and view.look not in offered:
        views.note("info", "That look compares two candidates, or is for another kind of model.", "Choose one of those above.")
    elif view.look:
        with views.guarded():
            offered[view.look][1](view, held, request, asked)


def _look(titles: dict[str, str], title: str | None) -> str:
    return next((look for look, told in titles.items() if told == title), "")


def _offered(inside: tuple[str, ...], two: bool) -> dict[str, tuple[str, Panel]]:
    found: dict[str, tuple[str, Panel]] = {}
    if "trees" in inside:
        found["trees"] = ("Trees", _partings if two else _turns)
    if two:
        found["swaps"] = ("What would turn them round", _swaps)
        if "trees" in inside:
            found["pairs"] = ("Pairs of features", _pairs)
    else:
        found["surrogate"] = ("Local surrogate", _surrogate)
    if "layers" in inside:
        found["layers"] = ("Layers", _layers)
    return found


# --- trees ------------------------------------------------------------------------------------------------------------------------


def _turns(view: View, held: load.Bench, request: Request, asked: Asked) -> None:
    found = load_model.turns(held, request, asked)
    views.sentence(f"What each feature does on the way of {views.plain(asked.item)} through all trees.")
    views.facts([("base", views.number(found.base)), ("score", views.number(found.score)), ("residual", f"{found.residual:.1g}")])
    rows = found.rows.reset_index()
    said = f"Change of the score at the splits of each feature, for {views.plain(asked.item)}."
    drawn = largest(rows.set_index("feature"), "change")
    views.chart(charts.effects(drawn, "change", f"change on the way ({load_model.scale(held, request, asked)})", said, ("turns", "trees")))
    views.table(rows, said, "turns", rows=8)
    _one_tree(view, held, request, asked, view.tree or 0)


def _partings(view: View, held: load.Bench, request: Request, asked: Asked) -> None:
    found = load_model.partings(held, request, asked)
    views.sentence(found.sentence)
    if not found.adds_up:
        return
    trees = found.trees[found.trees["feature"] != ""].head(_TREES)
    if trees.empty:
        views.empty("No tree parts them.", "Both end in the same leaf of every tree.")
        return
    rows = trees.reset_index() if "tree" not in trees.columns else trees.reset_index(drop=True)
    drawn = rows.assign(feature=["tree " + str(t) + ": " + str(f) for t, f in zip(rows["tree"], rows["feature"], strict=True)])
    said = f"Trees that contribute most to the difference of {views.plain(asked.item)} and {views.plain(asked.above)}."
    title = f"difference ({load_model.scale(held, request, asked)})"
    views.chart(charts.effects(drawn[["feature", "difference", "question"]], "difference", title, said, ("question",)))
    views.table(found.features.reset_index(), "The difference by the feature that parts them", "partings", rows=8)
    _one_tree(view, held, request, asked, view.tree if view.tree is not None else int(rows["tree"].iloc[0]))


def _one_tree(view: View, held: load.Bench, request: Request, asked: Asked, tree: int) -> None:
    chosen = state.bound("explain-tree", tree, lambda number: view.but(tab="model", tree=int(number)))
    st.number_input("Tree (number, from 0)", min_value=0, step=1, **chosen)
    found = load_model.way(held, request, asked, tree)
    views.sentence(found.sentence)
    st.graphviz_chart(found.drawing.dot, width="content", alt=f"Tree {tree} around the ways of {' and '.join(asked.items)}")
    if found.drawing.folded:
        views.quiet(f"{found.drawing.folded:,} more leaves lie beside these ways and are folded.")
    views.table(found.steps, f"Every split on the way through tree {tree}", "tree-steps", rows=10)


# --- edits, pairs, surrogate ------------------------------------------------------------------------------------------------------


def _swaps(view: View, held: load.Bench, request: Request, asked: Asked) -> None:
    found = load_model.swaps(held, request, asked)
    views.sentence(found.sentence)
    if not found.found:
        return
    rows = pd.DataFrame(
        [{"edits": "; ".join(map(str, s.edits)), "size": s.size, "margin": s.margin, "in words": s.sentence} for s in found.found]
    )
    columns = {
        "size": st.column_config.NumberColumn("size (share of training rows passed)", format="%.3f"),
        "margin": st.column_config.NumberColumn(f"margin afterwards ({found.scale})", format="%+.4g"),
    }
    views.table(rows, "Edits that turn the two round, the smallest first; each was replayed", "swaps", rows=8, columns=columns)
    best = found.found[0]
    target = view.but(tab="what-if", edits=(*view.edits, *best.edits))
    state.link("request", target, "Replay the smallest one with the whole list", ":material/replay:")


def _pairs(view: View, held: load.Bench, request: Request, asked: Asked) -> None:
    rows = load_model.pairs(held, request, asked)
    if rows.empty:
        views.empty("No feature and no pair makes a difference.", "Both have the same score.")
        return
    told = [f"{a} × {b}" if b else f"{a} alone" for a, b in zip(rows["feature"], rows["with"], strict=True)]
    drawn = largest(pd.DataFrame({"feature": told, "difference": rows["difference"]}).set_index("feature"), "difference")
    drawn["feature"] = drawn["feature"].str.replace("other features", "others")
    said = f"What features make alone, and what pairs make together, in the difference of {views.plain(asked.item)} and {views.plain(asked.above)}."
    views.sentence(said)
    views.chart(charts.effects(drawn, "difference", f"difference ({load_model.scale(held, request, asked)})", said, ()))
    views.table(rows, said, "pairs", rows=8)


def _surrogate(view: View, held: load.Bench, request: Request, asked: Asked) -> None:
    found = load_model.surrogate(held, request, asked)
    (views.sentence if found.faithful else lambda text: views.note("unknown", text))(found.sentence)
    if found.disputed:
        views.note("bad", f"The line and SHAP disagree on the sign of {', '.join(found.disputed)}.", "Trust neither for these alone.")
    rows = found.rows.reset_index()
    both = rows.melt("feature", ["effect", "shap"], "method", "contribution")
    said = f"Effect of each feature around {views.plain(asked.item)}: by a line fitted there, and by SHAP."
    views.chart(charts_internals.two_methods(both, f"effect ({found.scale})", said))
    views.facts([("fidelity (R² on fresh perturbations)", views.number(found.fidelity)), ("perturbations", f"{found.samples:,}")])
    views.table(rows, said, "surrogate", rows=8)


# --- layers -----------------------------------------------------------------------------------------------------------------------


def _layers(view: View, held: load.Bench, request: Request, asked: Asked) -> None:
    found = load_model.layers(held, request, asked)
    if asked.above:
        rows = found.between(asked.item, asked.above)
        rows["number"] = rows.groupby("layer", sort=False).cumcount()
        value, title = "step", "difference (standard deviations of the unit here)"
        said = f"Units of every layer, {views.plain(asked.item)} less {views.plain(asked.above)}."
    else:
        rows = found.frame[found.frame["item"] == asked.item]
        value, title, said = "value", "activation", f"What the units of every layer give for {views.plain(asked.item)}."
    views.sentence(said)
    views.facts([("residual: how far the layers are from the model's score", f"{found.residual:.1g}")])
    views.chart(charts_internals.layers(rows, value, title, said))
    names = {"a": views.plain(asked.item), "b": views.plain(asked.above), "step": "difference (standard deviations)"} if asked.above else {}
    views.table(rows, said, "layers", rows=10, columns={name: st.column_config.NumberColumn(text) for name, text in names.items()})
