"""What an action would have made of logged requests; or why the log cannot tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from diagnosis.errors import CannotSayError, RulesError
from diagnosis.localize.columns import Column
from diagnosis.localize.sample import Floats, Ints, Mask
from diagnosis.localize.stage import Played, World
from diagnosis.localize.suspects import put_back
from diagnosis.resolve.actions import EARLIER, LAST_KNOWN, Action
from diagnosis.resolve.fallback import emulated
from diagnosis.resolve.scene import Scene, part_of, with_model, with_ruleset
from diagnosis.rules.batch import pages

_ROLLED = ("serving", "rules", "feature")  # components that a deployment or a setting can break
_SOON = (-3600.0, 6 * 3600.0)  # seconds from a change to the onset of what it brought, as the onset is told


@dataclass(frozen=True, eq=False)
class Acted:
    """Requests as a fix would have served them.

    Attributes
    ----------
    scene : Scene
        With the models and rulesets that the fix brings.
    world : World
    hit : array of bool, shape (requests,)
        Requests that any action is for: the blast radius.
    fallen : array of bool, shape (requests,)
        Requests that a fallback answers.
    pages : tuple of callables
        Changes of positions that stand after the rules.
    notes : tuple of str
        What the rehearsal had to assume.
    """

    scene: Scene
    world: World
    hit: Mask
    fallen: Mask
    pages: tuple[Callable[[Played], Played], ...] = ()
    notes: tuple[str, ...] = ()

    def play(self) -> Played:
        """Scores and pages; only those of hit requests are made anew."""
        served, kept = self.scene.served, self.hit[self.scene.sample.owner]
        stage, world = part_of(self.world, self.scene.stage, np.flatnonzero(self.hit))
        made, score, position = stage.play(world), served.score.copy(), served.position.copy()
        score[kept], position[kept] = made.score, made.position
        played = Played(score, _closed(self, Played(score, position)))
        for change in self.pages:
            played = change(played)
        return played


def act(scene: Scene, actions: Sequence[Action], environment: str = "") -> Acted:
    """The requests of a scene with actions applied, one after the other.

    Raises
    ------
    CannotSayError
        If an action cannot be replayed from this log, and why.
    NotFoundError, ModelError, RulesError, FilterError
    """
    none = np.zeros(len(scene.sample), dtype=np.bool_)
    acted = Acted(scene, scene.world, none, none)
    for action in actions:
        hit = scene.requests_of(action, environment)
        if not hit.any():
            raise CannotSayError(f"No logged request of {scene.window} is hit by: {action.sentence}.", "look at its slice.")
        acted = _HOW[action.kind](replace(acted, hit=acted.hit | hit), action, hit)
    return acted


def _pin_model(acted: Acted, action: Action, hit: Mask) -> Acted:
    name, version = str(action.values["model"]), str(action.values["version"])
    scene, place = with_model(acted.scene, name, version)
    codes, names = scene.sample.words("model")
    mine = hit & (codes == names.index(name)) if name in names else np.zeros(len(hit), dtype=np.bool_)
    mine &= acted.world.replayed
    if not mine.any():
        raise CannotSayError(f"No page of these requests can be made again with model {name!r}.", "look at the model's name in the log.")
    world = replace(acted.world, model=np.where(mine, place, acted.world.model), rescored=acted.world.rescored | mine)
    return replace(acted, scene=scene, world=world, notes=(*acted.notes, *_left(hit, mine, "are not made by that model")))


def _pin_ruleset(acted: Acted, action: Action, hit: Mask) -> Acted:
    version = str(action.values["version"])
    scene, place = with_ruleset(acted.scene, version)
    mine = hit & acted.world.replayed
    try:
        pages(scene.stage.rulesets[version], scene.stage.shelf, scene.stage.logged_score)
    except RulesError as error:
        raise CannotSayError(f"Ruleset {version!r} cannot be replayed: {error.message}", error.hint) from None
    world = replace(acted.world, ruleset=np.where(mine, place, acted.world.ruleset))
    return replace(acted, scene=scene, world=world, notes=(*acted.notes, *_left(hit, mine, "are not made by rules over scores")))


def _set_feature(acted: Acted, action: Action, hit: Mask) -> Acted:
    scene, name, value = acted.scene, str(action.values["feature"]), action.values["value"]
    sources = [s for s in scene.case.used if s.partition(".")[2] == name and s in scene.stage.columns]
    if not sources:
        raise CannotSayError(f"No model that can be replayed is given the feature {name!r}.", "see `diagnosis check`.")
    mine = hit & acted.world.replayed & (acted.world.model >= 0)
    if not mine.any():
        raise CannotSayError("None of these requests was scored by a model that can be replayed.", "see `diagnosis check`.")
    rows, notes, columns = mine[scene.sample.owner], list(_left(hit, mine, "are not scored by a model that can be replayed")), []
    for source in sources:
        column = _able(acted.world.columns[source], value)
        values = np.full(len(rows), _coded(column, value))
        if action.values["to"] in EARLIER:
            known = scene.last_good(column, str(action.values["before"]), mine)
            found = rows & ~np.isnan(known)
            kept = action.values["to"] == LAST_KNOWN
            values = np.where(np.isnan(known), column.values if kept else values, known)
            share, rest = found.sum() / max(rows.sum(), 1), "keep theirs" if kept else f"are given {value}"
            notes.append(f"an earlier value of {name} is logged for {share:.0%} of the candidates; the others {rest}")
        columns.append(column.put(rows, values))
    world = replace(acted.world, columns=acted.world.columns.having(columns), rescored=acted.world.rescored | mine)
    return replace(acted, world=world, notes=(*acted.notes, *notes))


def _able(column: Column, value: Any) -> Column:
    """The column, able to hold a value.

    Raises
    ------
    CannotSayError
        If it is of another type.
    """
    if value is None or (column.categorical and str(value) in (column.levels or ())):
        return column
    if column.categorical:
        return replace(column, levels=(*(column.levels or ()), str(value)))
    if isinstance(value, str):
        raise CannotSayError(f"{column.source} holds numbers, and {value!r} is none.")
    return column


def _coded(column: Column, value: Any) -> float:
    if value is None:
        return float("nan")
    return float((column.levels or ()).index(str(value))) if column.categorical else float(value)


def _retriever_off(acted: Acted, action: Action, hit: Mask) -> Acted:
    sample, name = acted.scene.sample, str(action.values["retriever"])
    if "retrievers" not in sample.batch.candidates.column_names:
        raise CannotSayError("The log does not say which retriever proposed a candidate.", "log the column retrievers.")
    column = sample.batch.candidates.column("retrievers").combine_chunks()
    flat = pd.Series(column.flatten().to_pylist(), dtype=object)
    counts = np.asarray(pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False), dtype=np.int64)
    owner = np.repeat(np.arange(len(column)), counts)
    others = np.bincount(owner, weights=(flat != name).to_numpy(dtype=np.float64), minlength=len(column))
    mine = np.bincount(owner, weights=(flat == name).to_numpy(dtype=np.float64), minlength=len(column))
    if not mine.any():
        raise CannotSayError(f"No logged candidate was proposed by a retriever {name!r}.", "look at its name in the log.")
    made = hit & acted.world.replayed
    absent = (mine > 0) & (others == 0) & made[sample.owner]
    notes = ["candidates that other retrievers would have proposed in its place were not logged, and do not take part"]
    return replace(acted, world=replace(acted.world, absent=acted.world.absent | absent), notes=(*acted.notes, *notes))


def _block_item(acted: Acted, action: Action, hit: Mask) -> Acted:
    absent = _rows_of(acted.scene, str(action.values["item"])) & hit[acted.scene.sample.owner]
    if not absent.any():
        raise CannotSayError(f"Item {action.values['item']!r} is no candidate of these requests.", "look at its id in the log.")
    return replace(acted, world=replace(acted.world, absent=acted.world.absent | absent))


def _pin_item(acted: Acted, action: Action, hit: Mask) -> Acted:
    sample, place = acted.scene.sample, int(action.values["position"])
    rows = _rows_of(acted.scene, str(action.values["item"])) & hit[sample.owner] & ~acted.world.absent
    able = np.zeros(len(hit), dtype=np.bool_)
    able[sample.owner[rows]] = True
    if not able.any():
        raise CannotSayError(
            f"Item {action.values['item']!r} is no candidate of these requests.", "what its features would be is not logged."
        )

    def pinned(played: Played) -> Played:
        position, owner = played.position.astype(np.float64), sample.owner
        size = np.bincount(owner[played.position > 0], minlength=len(hit))
        mine = able[owner] & (size[owner] > 0)
        position[rows & mine] = np.minimum(place, np.maximum(size[owner[rows & mine]], 1)) - 0.5
        later = np.zeros(len(hit), dtype=np.bool_)
        later[owner[rows & mine & (played.position > 0) & (played.position < place)]] = True
        position[rows & mine & later[owner]] += 1.0  # it moves down: those between move up
        return Played(played.score, _numbered(position, owner, mine, size, played.position))

    text = f"in {_weighed(acted, hit & ~able, hit):.0%} of the requests it is no candidate, and they stay as they are"
    return replace(acted, pages=(*acted.pages, pinned), notes=(*acted.notes, text))


def _numbered(wanted: Floats, owner: Ints, mine: Mask, size: Ints, old: Ints) -> Ints:
    """Positions from 1 in the order of `wanted` (0 = not shown), as many as were shown before; of other requests the old ones."""
    rows = np.flatnonzero(mine & (wanted > 0))
    order = rows[np.lexsort((wanted[rows], owner[rows]))]
    starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
    nth = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order))) + 1
    out = old.copy()
    out[mine] = 0
    out[order] = np.where(nth <= size[owner[order]], nth, 0)
    return np.asarray(out, dtype=np.int64)


def _fallback(acted: Acted, action: Action, hit: Mask) -> Acted:
    order, said = emulated(acted.scene, str(action.values["fallback"]))
    sample = acted.scene.sample

    def fallen(played: Played) -> Played:
        size = np.bincount(sample.owner[played.position > 0], minlength=len(hit))
        mine = hit[sample.owner]
        wanted = np.where(mine & np.isfinite(order), order.max(initial=0.0, where=np.isfinite(order)) - order + 1.0, 0.0)
        return Played(played.score, _numbered(wanted, sample.owner, mine, size, played.position))

    return replace(acted, fallen=acted.fallen | hit, pages=(*acted.pages, fallen), notes=(*acted.notes, said))


def _roll_back(acted: Acted, action: Action, hit: Mask) -> Acted:
    """What began with a change is put back: the log names no code, so that it was the change is taken as given, and said."""
    scene, what, to = acted.scene, str(action.values["what"]), str(action.values["to"])
    at = scene.changed_from(what, to)
    if at is None:
        raise CannotSayError(f"No change of {what!r} from {to!r} is known.", "the table of changes names what was changed, and from what.")
    turned = acted.world.upside_down & hit & acted.world.replayed
    begun = [s for s in scene.suspects if s.component in _ROLLED and s.repair is not None and _SOON[0] <= s.since - at <= _SOON[1]]
    mended = [replace(s, hit=s.hit & hit & acted.world.replayed) for s in begun]
    mended = [s for s in mended if s.hit.any()]
    if not mended and not turned.any():
        raise CannotSayError(
            f"Nothing that replay could put back began with the change of {what!r}.", "say why it may go out all the same."
        )
    world, notes = replace(acted.world, upside_down=acted.world.upside_down & ~turned), list(acted.notes)
    if turned.any():
        notes.append(
            f"taken to end the order from the worst score to the best, which {_weighed(acted, turned, hit):.0%} of the requests show"
        )
    for suspect in mended:
        world = put_back(scene.stage, world, suspect)
        notes.append(f"taken to end what began {(suspect.since - at) / 60:+.0f} minutes from it: {suspect.name}")
    return replace(acted, world=world, notes=tuple(notes))


def _rows_of(scene: Scene, item: str) -> Mask:
    codes, names = scene.sample.words("item_id", "candidates")
    known = [str(n) for n in names]
    return codes == known.index(item) if item in known else np.zeros(len(codes), dtype=np.bool_)


def _closed(acted: Acted, played: Played) -> Ints:
    """Pages that no rules made close the gap that an absent item leaves."""
    sample, world = acted.scene.sample, acted.world
    touched = np.zeros(len(sample), dtype=np.bool_)
    touched[sample.owner[world.absent]] = True
    mine = (touched & ~world.replayed)[sample.owner]
    if not mine.any():
        return played.position
    size = np.bincount(sample.owner[played.position > 0], minlength=len(sample))
    return _numbered(played.position.astype(np.float64), sample.owner, mine, size, played.position)


def _left(hit: Mask, mine: Mask, why: str) -> list[str]:
    share = 1 - mine.sum() / max(hit.sum(), 1)
    return [f"{share:.0%} of the requests {why}, and stay as they are"] if share > 0 else []


def _weighed(acted: Acted, part: Mask, whole: Mask) -> float:
    weight = acted.scene.sample.weight
    return float(weight[part].sum() / max(weight[whole].sum(), 1e-12))


_HOW: Mapping[str, Callable[[Acted, Action, Mask], Acted]] = {
    "pin_model": _pin_model,
    "pin_ruleset": _pin_ruleset,
    "set_feature": _set_feature,
    "retriever_off": _retriever_off,
    "block_item": _block_item,
    "pin_item": _pin_item,
    "fallback": _fallback,
    "roll_back": _roll_back,
}
