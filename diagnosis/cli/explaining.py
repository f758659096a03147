"""What `explain` adds on request: by upstream, pairs, swaps, trees, a surrogate, layers; as plain values, and as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diagnosis.cli.output import plain, table


@dataclass(frozen=True)
class Wanted:
    """Which parts are asked for; `tree` is the number of one tree."""

    pairs: bool = False
    swaps: bool = False
    trees: bool = False
    tree: int | None = None
    surrogate: bool = False
    layers: bool = False

    def check(self, above: str | None) -> None:
        """Raise `ValueError` for what needs a second candidate."""
        if above is None and (self.swaps or self.pairs):
            raise ValueError("--swaps and --pairs compare two candidates; give --above ITEM too.")


def parts(workbench: Any, request: Any, given: Any, item: str, above: str | None, wanted: Wanted, stage: str = "") -> dict[str, Any]:
    """What is asked for, each part under its name; see `explain` for the keys."""
    from diagnosis.errors import ContractError
    from diagnosis.inputs import read_contracts
    from diagnosis.internals import above as compare
    from diagnosis.internals import activations, by_upstream, interactions, surrogate, swaps, together
    from diagnosis.internals.contributions import explained_model
    from diagnosis.models import read_training

    try:
        contracts = read_contracts(workbench.workspace.contracts_file)
    except ContractError:  # `check` says what is wrong with them; scores can be explained without
        contracts = ()
    out: dict[str, Any] = {}
    if above is not None:
        comparison = compare(given, item, above)
        upstreams = by_upstream(comparison, {c.name: c.upstream for c in contracts})
        out |= {"differing": comparison.differing, "alike": comparison.alike, "upstreams": _records(upstreams.reset_index())}
    if wanted == Wanted():
        return out
    model = explained_model(workbench, request, stage=stage)
    if wanted.pairs and above is not None:
        out["pairs"] = _records(together(interactions(model, given.features, list(given.features.index)), item, above))
    if wanted.swaps and above is not None:
        foreign = {c.name for c in contracts if not c.applies_to(request.task)}  # they hold a sentinel, which no edit makes a value
        out["swaps"] = swaps(model, given, item, above, training=read_training(model.bundle), fixed=foreign).as_json()
    if wanted.trees or wanted.tree is not None:
        out |= _trees(model, given, item, above, wanted, {c.name: c.unit for c in contracts})
    if wanted.surrogate:
        out["surrogate"] = surrogate(model, given, item, read_training(model.bundle)).as_json()
    if wanted.layers:
        found = activations(model, given.features, list(given.features.index))
        out["layers"] = {"residual": found.residual, "units": _records(_units(found, item, above))}
    return out


def show(found: Mapping[str, Any], item: str, above: str | None) -> None:
    """Print what `parts` found."""
    if "pairs" in found:
        _print(found["pairs"], ("feature", "with", "difference"))
    if "swaps" in found:
        _print(found["swaps"]["swaps"], ("edits", "size", "margin"))
        print(plain(found["swaps"]["sentence"]))
    if "trees" in found:
        held = found["trees"]
        _print(held["features"], ("feature", "difference", "trees", "against") if above else ("feature", "change", "turns", "trees"))
        if above:
            _print(held["trees"], ("tree", "difference", "shared", "question"))
        print(plain(held["sentence"]))
    if "tree" in found:
        for one, steps in found["tree"]["paths"].items():
            print(plain(f"{one}:"))
            _print(steps["steps"], ("question", "answer", "value", "why", "rows"), most=100)
        print(plain(found["tree"]["sentence"]))
    if "surrogate" in found:
        _print(found["surrogate"]["features"], ("feature", "slope", "low", "high", "effect", "shap"))
        print(plain(found["surrogate"]["sentence"]))
    if "layers" in found:
        _print(
            found["layers"]["units"], ("layer", "unit", "a", "b", "difference", "step") if above else ("layer", "unit", "value"), most=40
        )


def _trees(model: Any, given: Any, item: str, above: str | None, wanted: Wanted, units: Mapping[str, str]) -> dict[str, Any]:
    from diagnosis.internals import draw, fork, partings, path, structure, turns

    out: dict[str, Any] = {}
    if wanted.trees and above is not None:
        out["trees"] = partings(model, given.features, item, above, units=units).as_json()
    elif wanted.trees:
        found = turns(model, given.features, item)
        rows = _records(found.rows.reset_index())
        out["trees"] = {"sentence": structure(model).sentence, "base": found.base, "residual": found.residual, "features": rows}
    if wanted.tree is not None:
        shown = [item] if above is None else [item, above]
        paths = {one: path(model, given.features, one, wanted.tree, units=units) for one in shown}
        sentence = paths[item].sentence if above is None else fork(model, given.features, item, above, wanted.tree, units=units).sentence
        drawing = draw(model, wanted.tree, given.features, shown, units=units)
        held = {one: found.as_json() for one, found in paths.items()}
        out["tree"] = {"sentence": sentence, "paths": held, "drawing": drawing.as_json(), "dot": drawing.dot}
    return out


def _units(found: Any, item: str, above: str | None) -> Any:
    """Units of one candidate, in order; of two, those that differ most first."""
    if above is None:
        rows = found.frame
        return rows[rows["item"] == item].drop(columns=["item", "number"])
    rows = found.between(item, above)
    return rows.reindex(rows["step"].abs().sort_values(ascending=False, kind="stable").index)


def _records(rows: Any) -> list[dict[str, Any]]:
    return list(rows.to_dict("records"))


def _print(rows: Sequence[Mapping[str, Any]], names: Sequence[str], most: int = 15) -> None:
    table([["; ".join(v) if isinstance(v, list) else v for v in (row[name] for name in names)] for row in rows[:most]], names)
    if len(rows) > most:
        print(f"and {len(rows) - most} more")
