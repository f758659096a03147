"""What can be done about a cause: options of the playbook, with targets filled in from the case, ranked by what rehearsal says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from diagnosis.errors import DiagnosisError
from diagnosis.inputs.contracts import Contract, read_contracts
from diagnosis.localize.windows import Window
from diagnosis.log.filters import Clause, Filter
from diagnosis.log.records import to_frame
from diagnosis.reproduce import Workbench
from diagnosis.resolve.actions import CONSTANT, EARLIER, LAST_GOOD, LAST_KNOWN, SENTINEL, Action, bound
from diagnosis.resolve.books import Play, filled, playbook
from diagnosis.resolve.floods import LAUNCHES, flooding, proposing
from diagnosis.resolve.rehearsal import Rehearsal, on_terms, rehearse
from diagnosis.resolve.scene import CHANGED, Scene
from diagnosis.store import Query

_TYPICAL = 500  # requests of the baseline of which a usual value is told
_BEFORE, _AFTER = timedelta(hours=6), timedelta(minutes=30)  # of the onset, as it is told, in which the change that brought it lies


@dataclass(frozen=True)
class Option:
    """One thing that can be done.

    Attributes
    ----------
    play : Play
        As the playbook has it, its texts filled in.
    actions : tuple of Action
        What a hotfix would say; none where people do it by hand, or where it cannot be filled in.
    missing : str
        Why an action could not be filled in, or not be rehearsed.
    rehearsal : Rehearsal or None
        What it would have done, once it was played.
    """

    play: Play
    actions: tuple[Action, ...] = ()
    missing: str = ""
    rehearsal: Rehearsal | None = None

    @property
    def ready(self) -> bool:
        """Whether it was rehearsed and nothing speaks against it."""
        return self.rehearsal is not None and not self.rehearsal.refused


class _Unfilled(Exception):
    """The case does not tell what an action needs."""


class _Elsewhere(Exception):
    """The option is for another kind of cause."""


@dataclass(frozen=True, eq=False)
class Trouble:
    """A cause, and what is known around it.

    Attributes
    ----------
    cause : mapping
        As in `localize --json`: component, target, slice, since, owner, evidence.
    baseline, incident : Window
        When it was well, and when it was not.
    """

    workbench: Workbench
    cause: Mapping[str, Any]
    baseline: Window
    incident: Window

    @property
    def target(self) -> str:
        """What is broken."""
        return str(self.cause.get("target", ""))

    @property
    def since(self) -> datetime:
        """Onset; the beginning of the incident where the cause does not say."""
        text = self.cause.get("since")
        return datetime.fromisoformat(str(text)) if text else self.incident.since

    @cached_property
    def where(self) -> Filter:
        """The slice, as far as it is of request attributes: that of items cannot be told before candidates are there."""
        columns = self.workbench.snapshot.columns("requests")
        clauses = []
        for name, values in dict(self.cause.get("slice") or {}).items():
            if name in columns or name.partition(".")[0] in columns:
                clauses.append(Clause(name, "=", tuple(None if v is None else _text(v) for v in values)))
        return Filter(tuple(clauses))

    @cached_property
    def contracts(self) -> dict[str, Contract]:
        """Contracts of the features that are broken, by name; a target that is an upstream stands for all of its features."""
        every = {c.name: c for c in read_contracts(self.workbench.workspace.contracts_file)}
        if self.target in every:
            return {self.target: every[self.target]}
        mine = {name: c for name, c in every.items() if c.upstream == self.target}
        return mine or {self.target: Contract(self.target)}

    def served(self, column: str, window: Window) -> list[str]:
        """The values of a request column that requests of the slice had in a window, the most frequent first."""
        if column not in self.workbench.snapshot.columns("requests"):
            return []
        query = Query(where=self.where, since=window.since, until=window.until)
        rows = self.workbench.snapshot.aggregate(by=[column], query=query).dropna(subset=[column])
        return [str(value) for value in rows.sort_values("weight", ascending=False)[column]]


def options(trouble: Trouble) -> list[Option]:
    """The playbook's options for a cause, targets filled in; short-term ones first, as the playbook has them.

    Raises
    ------
    HotfixError
        If the playbook is wrong.
    """
    component = str(trouble.cause.get("component", ""))
    kinds = {str(e.get("kind")) for e in trouble.cause.get("evidence") or []}
    texts = {
        "target": trouble.target or component,
        "slice": str(trouble.where) or "everything",
        "since": f"{trouble.since:%Y-%m-%d %H:%M} UTC",
        "owner": str(trouble.cause.get("owner") or "not known"),
    }
    found = []
    for play in playbook(component, trouble.workbench.workspace.path):
        if play.evidence and not kinds & set(play.evidence):
            continue
        told = replace(play, title=filled(play.name, play.title, texts), step=filled(play.name, play.step, texts))
        try:
            found.append(_filled(trouble, told))
        except _Elsewhere:
            continue
    return sorted(found, key=lambda o: o.play.term != "short")


def _filled(trouble: Trouble, play: Play) -> Option:
    if not play.action:
        return Option(play)
    try:
        actions = _FILL[play.action](trouble)
        return Option(play, tuple(bound(a, trouble.workbench.snapshot) for a in actions))
    except _Unfilled as error:
        return Option(play, missing=str(error))
    except DiagnosisError as error:
        return Option(play, missing=error.message)


def ranked(
    scene: Scene,
    found: Sequence[Option],
    *,
    environment: str = "",
    cap: float = 1.0,
    progress: Callable[[str, float, Sequence[Option]], None] = lambda text, share, so_far: None,
) -> list[Option]:
    """Every option with an action rehearsed; the best first: what is surely gained, then what people do by hand, then what was refused."""
    done: list[Option] = []
    playable = [o for o in found if o.actions]
    for number, option in enumerate(playable):
        progress(f"rehearsing: {option.play.title}", number / max(len(playable), 1), _sorted([*done, *(o for o in found if not o.actions)]))
        try:
            done.append(replace(option, rehearsal=rehearse(scene, option.actions, environment=environment, cap=cap)))
        except DiagnosisError as error:
            done.append(replace(option, missing=error.message))
    return _sorted([*done, *(o for o in found if not o.actions)])


def capped(found: Sequence[Option], cap: float) -> list[Option]:
    """The same options, ranked anew for another cap on what a fix may touch."""
    return _sorted([o if o.rehearsal is None else replace(o, rehearsal=on_terms(o.rehearsal, cap, o.rehearsal.accepted)) for o in found])


def _sorted(found: Sequence[Option]) -> list[Option]:
    def place(option: Option) -> tuple[int, float]:
        made = option.rehearsal
        if made is None:
            return (4 if option.missing else 2 if option.play.term == "short" else 3), 0.0
        sure = made.whole.better - abs(made.whole.high - made.whole.low) / 2
        if made.refused:  # a cap is raised by a click, a harm is not taken back by one
            return (1 if made.too_wide and made.whole.verdict == "helped" else 6), -sure
        return (0 if made.whole.verdict == "helped" else 2 if made.whole.better > 0 else 5), -sure

    return sorted(found, key=place)


# --- filling in -------------------------------------------------------------------------------------------------------------------


def _features(trouble: Trouble, to: str) -> list[Action]:
    """One action for each broken feature, for the tasks that it applies to."""
    made = []
    for name, contract in trouble.contracts.items():
        where = trouble.where
        if contract.tasks and "task" not in where.attributes:
            where = where & Filter((Clause("task", "=", contract.tasks),))
        if to == SENTINEL:
            if contract.sentinel is None:
                raise _Unfilled(f"The contract of {name} names no sentinel.")
            value: Any = contract.sentinel
        else:
            value = None if to == LAST_KNOWN else _typical(trouble, name, where)
        before = trouble.since.isoformat().replace("+00:00", "Z") if to in EARLIER else ""
        made.append(Action("set_feature", {"feature": name, "to": to, "value": value, "before": before}, where))
    return made


def _typical(trouble: Trouble, name: str, where: Filter) -> float | str | None:
    """The median, or the most frequent category, of a feature in the baseline.

    Raises
    ------
    _Unfilled
        If it is not logged.
    """
    snapshot = trouble.workbench.snapshot
    table = next((t for t in ("candidates", "requests") if name in snapshot.columns(t)), None)
    if table is None:
        raise _Unfilled(f"{name} is no logged feature.")
    batch = snapshot.sample(_TYPICAL, query=Query(where=where, since=trouble.baseline.since, until=trouble.baseline.until))
    values = to_frame(getattr(batch, table).select([name]))[name].dropna()
    if not len(values):
        raise _Unfilled(f"The baseline holds no value of {name}.")
    if values.dtype == object:
        return str(values.mode().iloc[0])
    return float(np.median(values.astype("float64")))


def _previous(trouble: Trouble, column: str, what: str) -> str:
    """The version of the baseline, where the incident has another.

    Raises
    ------
    _Unfilled
    """
    before, now = trouble.served(column, trouble.baseline), trouble.served(column, Window(trouble.since, trouble.incident.until))
    if not before:
        raise _Unfilled(f"The baseline names no {what}.")
    if not set(now) - {before[0]}:
        raise _Unfilled(f"The {what} is the one of the baseline, {before[0]}.")
    return before[0]


def _pin_model(trouble: Trouble, version: str) -> list[Action]:
    models = trouble.served("model", trouble.baseline)
    if not models or not version:
        raise _Unfilled("The log names no model.")
    return [Action("pin_model", {"model": models[0], "version": version}, trouble.where)]


def _roll_back(trouble: Trouble) -> list[Action]:
    """The latest deployment or setting before the onset, put back to what it was."""
    rows = trouble.workbench.snapshot.changes(trouble.since - _BEFORE, trouble.since + _AFTER)
    rows = rows[rows["kind"].isin(CHANGED) & rows["before"].map(lambda before: isinstance(before, str) and bool(before))]
    if not len(rows):
        raise _Unfilled(f"No deployment or setting that could be put back is known shortly before {trouble.since:%Y-%m-%d %H:%M} UTC.")
    last = rows.iloc[-1]
    return [Action("roll_back", {"what": str(last["target"]), "to": str(last["before"])}, trouble.where)]


def _retriever_of_launches(trouble: Trouble) -> list[Action]:
    if trouble.target != LAUNCHES:
        raise _Elsewhere
    name = proposing(trouble.workbench.snapshot, trouble.where, Window(trouble.since, trouble.incident.until))
    if name is None:
        raise _Unfilled("No retriever proposes chiefly what was just launched, as far as the log says.")
    return [Action("retriever_off", {"retriever": name}, trouble.where)]


def _block_launches(trouble: Trouble) -> list[Action]:
    if trouble.target != LAUNCHES:
        raise _Elsewhere
    items = flooding(trouble.workbench, trouble.where, Window(trouble.since, trouble.incident.until))
    if not items:
        raise _Unfilled("No item that was launched since earns clearly less than others on the pages that were read.")
    return [Action("block_item", {"item": item}, trouble.where) for item in items]


def _retriever(trouble: Trouble) -> list[Action]:
    if trouble.target == LAUNCHES:
        raise _Elsewhere
    if "retrievers" not in trouble.workbench.snapshot.columns("candidates"):
        raise _Unfilled("The log does not say which retriever proposed a candidate.")
    if any(word in str(e.get("text", "")) for e in trouble.cause.get("evidence") or [] for word in ("fewer", "stopped", "no longer")):
        raise _Unfilled(f"{trouble.target} proposes too little: switching it off would take the rest.")
    return [Action("retriever_off", {"retriever": trouble.target}, trouble.where)]


def _fallback(trouble: Trouble) -> list[Action]:
    whole = Trouble(trouble.workbench, {**trouble.cause, "slice": {}}, trouble.baseline, trouble.incident)
    names = [name for t in (trouble, whole) for window in (t.baseline, t.incident) for name in t.served("fallback", window)]
    if not names:
        raise _Unfilled("No logged request was answered by a fallback, so none is known by name.")
    return [Action("fallback", {"fallback": names[0]}, trouble.where)]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_FILL: dict[str, Callable[[Trouble], list[Action]]] = {
    "set_feature=last_good": lambda t: _features(t, LAST_GOOD),
    "set_feature=last_known": lambda t: _features(t, LAST_KNOWN),
    "set_feature=typical": lambda t: _features(t, CONSTANT),
    "set_feature=sentinel": lambda t: _features(t, SENTINEL),
    "pin_model=previous": lambda t: _pin_model(t, _previous(t, "model_version", "model version")),
    "pin_model=logged": lambda t: _pin_model(t, next(iter(t.served("model_version", t.incident)), "")),
    "pin_ruleset=previous": lambda t: [Action("pin_ruleset", {"version": _previous(t, "ruleset_version", "ruleset")}, t.where)],
    "retriever_off=target": _retriever,
    "retriever_off=launches": _retriever_of_launches,
    "block_item=launches": _block_launches,
    "roll_back=change": _roll_back,
    "fallback=usual": _fallback,
}
