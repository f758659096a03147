"""Everything that two versions of a model can be compared by, at once; what cannot be said says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pandas as pd

from diagnosis.errors import DiagnosisError
from diagnosis.internals.confirmation import shown_rows, unconfirmed
from diagnosis.internals.contributions import plain_value
from diagnosis.internals.leaks import Leaks, leaks
from diagnosis.internals.row_change import RowChange, row_change
from diagnosis.internals.skew import Skew, skew
from diagnosis.internals.tasks import Tasks, by_task
from diagnosis.internals.training_rows import TrainingRows, training_rows
from diagnosis.internals.two_versions import Manifests, SameRequests, manifests, same_requests
from diagnosis.log.records import Batch
from diagnosis.models import Model
from diagnosis.reproduce import Workbench
from diagnosis.store import Query

REQUESTS, JUDGED = 1000, 6000  # requests that both versions score, and whose outcomes judge them
PARTS = ("rows", "leaks", "labels", "skew", "same", "tasks")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Versions:
    """Two versions of a model side by side; None where something cannot be said, and `notes` says why.

    Attributes
    ----------
    manifests : Manifests
    rows : RowChange or None
        Training rows of the later against those of the earlier.
    leaks : Leaks or None
        Features that tell the later's labels too well.
    labels : RowChange or None
        Label rates of the later's training rows against the outcomes in the log.
    skew : Skew or None
        The later's training rows against the same candidates in the log.
    same : SameRequests or None
    tasks : Tasks or None
    notes : dict of str to str
        Part → why it is None.
    """

    manifests: Manifests
    rows: RowChange | None
    leaks: Leaks | None
    labels: RowChange | None
    skew: Skew | None
    same: SameRequests | None
    tasks: Tasks | None
    notes: dict[str, str]

    @property
    def sentences(self) -> dict[str, str]:
        """What is known, a sentence a part; where nothing is, why."""
        parts = {name: getattr(self, name) for name in ("manifests", *PARTS)}
        return {n: part.sentence if part is not None else self.notes[n] for n, part in parts.items() if part is not None or n in self.notes}

    def as_json(self) -> dict[str, Any]:
        """As plain values; NaN is None."""
        found: dict[str, Any] = {"before": self.manifests.before.version, "after": self.manifests.after.version}
        found |= {"sentences": self.sentences, "facts": records(self.manifests.facts), "features": records(self.manifests.features)}
        if self.rows is not None:
            found["training"] = {"slices": records(self.rows.slices), "missing": records(self.rows.missing)}
        for name, part in (("leaks", self.leaks), ("skew", self.skew), ("tasks", self.tasks)):
            if part is not None:
                found[name] = records(part.rows)
        if self.labels is not None:
            found["labels"] = records(self.labels.slices)
        if self.skew is not None:
            found["differences"] = records(self.skew.examples)
        if self.same is not None:
            found["same_requests"] = _same(self.same)
        return found


def compare_versions(
    workbench: Workbench,
    name: str | None,
    before: str,
    after: str,
    *,
    query: Query | None = None,
    requests: int = REQUESTS,
    parts: Sequence[str] = PARTS,
) -> Versions:
    """Compare two versions of a model: what they say of themselves, their training rows, and what they do with logged requests.

    Parameters
    ----------
    query : Query, optional
        Which logged requests; those served ``ok`` when not given.
    requests : int
        How many of them both versions score; six times as many judge them by outcomes.
    parts : sequence of str
        Which of `PARTS` to look at; the others are None, without a note.

    Raises
    ------
    NotFoundError, NotAdmittedError, ChangedArtifactError, BundleError
        If one of them cannot be had.
    """
    one, two = workbench.model(name, before), workbench.model(name, after)
    notes: dict[str, str] = {}

    def part(what: str, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except DiagnosisError as error:
            notes[what] = error.message
            return None

    asked = [what for what in PARTS if what in parts]
    # models are kept by the digest of what they load, so one may name the folder of another workspace: rows are read by our own bundles
    wanted = (before, after) if set(asked) & set(_TRAINING) else ()
    rows = {v: part(f"rows of {v}", partial(training_rows, workbench.bundle(name, v))) for v in wanted}
    lacking = "; ".join(notes.values())
    most = max(requests, JUDGED * requests // REQUESTS) if {"labels", "tasks"} & set(asked) else requests
    batch = _sample(workbench, query or Query(status="ok"), most) if set(asked) & set(_LOGGED) else None
    ask = {**_of_training(workbench, rows.get(before), rows.get(after), batch), **_of_log(workbench, one, two, batch, requests)}
    found = {what: part(what, ask[what]) for what in asked if what in ask}
    for what in asked:
        if found.get(what) is None:
            notes.setdefault(what, lacking if what in _TRAINING and lacking else "No such request is logged.")
    return Versions(manifests=manifests(one, two), notes=notes, **{what: found.get(what) for what in PARTS})


_TRAINING, _LOGGED = ("rows", "leaks", "labels", "skew"), ("labels", "same", "tasks")


def _of_training(
    workbench: Workbench, old: TrainingRows | None, new: TrainingRows | None, batch: Batch | None
) -> dict[str, Callable[[], Any]]:
    """Questions about training rows that can be asked."""
    if new is None:
        return {}
    settings = workbench.workspace.settings
    found: dict[str, Callable[[], Any]] = {"leaks": lambda: leaks(new, old), "skew": lambda: skew(new, workbench.snapshot)}
    if old is not None:
        found["rows"] = lambda: row_change(old, new)
    if batch is not None:
        events, within = settings.positive_events, settings.attribution_time_s
        found["labels"] = lambda: unconfirmed(
            shown_rows(new.bundle, batch, positive=events, attribution_s=within), new, tuple(batch.requests.column_names)
        )
    return found


def _of_log(workbench: Workbench, before: Model, after: Model, batch: Batch | None, requests: int) -> dict[str, Callable[[], Any]]:
    """Questions about logged requests that can be asked."""
    if batch is None:
        return {}
    settings = workbench.workspace.settings
    events, within = settings.positive_events, settings.attribution_time_s
    few = batch if len(batch) <= requests else _first(batch, requests)
    return {
        "same": lambda: same_requests(before, after, few),
        "tasks": lambda: by_task(before, after, batch, positive=events, attribution_s=within),
    }


def _sample(workbench: Workbench, query: Query, most: int) -> Batch | None:
    if not {"requests", "candidates"} <= set(workbench.snapshot.tables()):
        return None
    found = workbench.snapshot.sample(most, query=query)
    return found if len(found) else None


def _first(batch: Batch, n: int) -> Batch:
    """An even part: ids are hashes or counters, so every so many-th."""
    step = len(batch) // n
    chosen = list(range(0, n * step, step))
    places = [i for place in chosen for i in range(int(batch.offsets[place]), int(batch.offsets[place + 1]))]
    return Batch(batch.requests.take(chosen), batch.candidates.take(places), batch.outcomes.slice(0, 0))


def _same(given: SameRequests) -> dict[str, Any]:
    shares = {name: getattr(given, name) for name in ("score", "top", "page", "moved")}
    told = {name: {"value": plain_value(e.value), "low": plain_value(e.low), "high": plain_value(e.high)} for name, e in shares.items()}
    more = {"requests": given.requests, "base": plain_value(given.base), "residual": plain_value(given.residual)}
    return {**told, **more, "scores": records(given.scores), "contributions": records(given.contributions)}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a frame as plain values, its named index among them; NaN is None."""
    whole = frame.reset_index() if frame.index.name else frame
    return [{str(key): plain_value(value) for key, value in row.items()} for row in whole.to_dict("records")]
