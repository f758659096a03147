"""A version that helps one task and harms another: both versions judged by logged outcomes, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.estimate import Estimate, ratio
from diagnosis.internals.two_versions import members_of
from diagnosis.log.records import Batch
from diagnosis.metrics.definitions import POSITIVE
from diagnosis.metrics.rows import positives
from diagnosis.models import Model, assemble

Floats = NDArray[np.float64]

HELPS, HARMS, SAME, FEW, OWN = "helps", "harms", "no difference seen", "not enough data", "favoured by its own pages"
_FEWEST = 20  # pages


@dataclass(frozen=True, eq=False)
class Tasks:
    """How much better one version orders the pages that were shown than another, by task.

    Attributes
    ----------
    rows : pandas.DataFrame
        Index ``task``, the worst first: ``verdict`` (``helps``, ``harms``, ``no difference seen``, ``not enough data``, ``favoured by its
        own pages``), ``before``, ``after`` (mean NDCG of the shown candidates in each version's order, over pages with a positive event),
        ``change`` with ``low`` and ``high`` (95% for all tasks together), ``pages``, ``served_before``, ``served_after`` (pages that each
        version served itself).
    overall : Estimate
        Change over all tasks.
    names : tuple of str
    """

    rows: pd.DataFrame
    overall: Estimate
    names: tuple[str, str]

    @property
    def harmed(self) -> list[str]:
        """Tasks that the later version orders worse."""
        return [str(task) for task in self.rows.index[self.rows["verdict"] == HARMS]]

    @property
    def crossed(self) -> bool:
        """Whether it helps one task and harms another."""
        return bool((self.rows["verdict"] == HARMS).any() and (self.rows["verdict"] == HELPS).any())

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        helped = [str(t) for t in self.rows.index[self.rows["verdict"] == HELPS]]
        parts = [f"harms {', '.join(self.harmed)}"] * bool(self.harmed) + [f"helps {', '.join(helped)}"] * bool(helped)
        change = f"{self.overall.value:+.3g} NDCG over all, {self.overall.low:+.3g} to {self.overall.high:+.3g}"
        if not parts and (self.rows["verdict"] == OWN).any():
            return (
                f"Only one of {self.names[0]} and {self.names[1]} served these pages, which favours it: no task can be judged ({change})."
            )
        if not parts:
            return f"No task is seen to gain or lose from {self.names[0]} to {self.names[1]} ({change})."
        return f"{self.names[1]} {' and '.join(parts)}, against {self.names[0]} ({change})."


def by_task(
    before: Model,
    after: Model,
    batch: Batch,
    *,
    positive: Sequence[str] = POSITIVE,
    attribution_s: float = 86400.0,
    keep: Floats | None = None,
) -> Tasks:
    """Judge two versions by what members did with the candidates that they were shown.

    The candidates of each page are put in either version's order; the difference of the two NDCG is paired, weighted by what the request
    stands for, and requests of one member count together. Outcomes of candidates that were not shown were never logged.

    Members look longer at what stands first, so a page favours the version that served it. Where both served pages of a task, those of
    either count one half, so that the favour evens out. Where only one did, a difference in its favour proves nothing and the verdict is
    ``favoured by its own pages``; a difference to its harm does.

    Raises
    ------
    CannotSayError
        If no page has a positive event.
    MissingFeaturesError, BundleError
        See `diagnosis.models.assemble`.
    """
    pages = _pages(batch, positives(batch, list(positive), attribution_s))
    if not pages.counts.any():
        raise CannotSayError(
            "No page with two candidates or more has a positive event, so versions cannot be judged by outcomes.", "choose a longer window."
        )
    scores = [m.score(assemble(m.bundle, batch), groups=batch.groups) for m in (before, after)]
    quality = [pages.ndcg(np.asarray(s, dtype=np.float64)) for s in scores]
    probability = 1.0 / batch.weights if keep is None else keep
    tasks = np.array([str(t) for t in batch.requests.column("task").to_pylist()], dtype=object)
    names = sorted(set(tasks[pages.counts]))
    level = 1 - 0.05 / len(names)
    judged = _Judged(pages.counts, quality, probability, members_of(batch), _served(batch, before, after))
    rows = [(name, *judged.row(tasks == name, level)) for name in names]
    frame = pd.DataFrame(rows, columns=["task", *_COLUMNS]).set_index("task")
    return Tasks(frame.sort_values("change", kind="stable"), judged.change(pages.counts), (before.bundle.version, after.bundle.version))


_COLUMNS = ["verdict", "before", "after", "change", "low", "high", "pages", "served_before", "served_after"]


@dataclass(frozen=True, eq=False)
class _Pages:
    """Shown candidates of requests with a positive event and two candidates or more."""

    counts: NDArray[np.bool_]
    rows: NDArray[np.int64]
    owner: NDArray[np.int64]
    positive: NDArray[np.bool_]
    position: Floats

    def ndcg(self, score: Floats) -> Floats:
        """Of every request, its shown candidates by falling score; as they stood where scores are the same; NaN where it does not count."""
        order = np.lexsort((self.position, -score[self.rows], self.owner))
        owner = self.owner[order]
        place = np.arange(len(order)) - np.searchsorted(owner, owner, side="left")
        gain = np.bincount(owner, weights=self.positive[order] / np.log2(place + 2.0), minlength=len(self.counts))
        hits = np.bincount(owner, weights=self.positive[order], minlength=len(self.counts)).astype(np.int64)
        ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(hits.max(initial=0)) + 2.0))])[hits]
        return np.asarray(np.divide(gain, ideal, out=np.full(len(hits), np.nan), where=self.counts))


def _pages(batch: Batch, positive: NDArray[np.bool_]) -> _Pages:
    if "position" not in batch.candidates.column_names:
        raise CannotSayError("The log does not say what was shown (no column position).", "log the position of every candidate.")
    position = np.asarray(batch.candidates.column("position").to_numpy(), dtype=np.float64)
    shown, count = ~np.isnan(position), len(batch)
    size, hits = (np.bincount(batch.owner[mask], minlength=count) for mask in (shown, shown & positive))
    counts = (size > 1) & (hits > 0) & (hits < size)
    rows = np.flatnonzero(shown & counts[batch.owner])
    return _Pages(counts, rows, batch.owner[rows], positive[rows], position[rows])


def _served(batch: Batch, before: Model, after: Model) -> list[NDArray[np.bool_]]:
    if "model_version" not in batch.requests.column_names:
        return [np.zeros(len(batch), dtype=np.bool_)] * 2
    by = batch.requests.column("model_version").to_pylist()
    return [np.array([v == m.bundle.version for v in by], dtype=np.bool_) for m in (before, after)]


@dataclass(frozen=True, eq=False)
class _Judged:
    counts: NDArray[np.bool_]
    quality: list[Floats]
    keep: Floats
    members: NDArray[np.int64]
    served: list[NDArray[np.bool_]]

    def change(self, inside: NDArray[np.bool_], level: float = 0.95) -> Estimate:
        """Mean difference; pages that either version served count one half each where both did."""
        inside = inside & self.counts
        sides = [mask & inside for mask in self.served]
        if not self.both(inside):
            return self.mean(self.quality[1] - self.quality[0], inside, self.keep, level)
        weight = [float((1 / self.keep[side]).sum()) for side in sides]
        keep = self.keep.copy()
        for side, size in zip(sides, weight, strict=True):
            keep[side] *= size / max(weight)
        return self.mean(self.quality[1] - self.quality[0], sides[0] | sides[1], keep, level)

    def both(self, inside: NDArray[np.bool_]) -> bool:
        return all((mask & inside & self.counts).sum() >= _FEWEST for mask in self.served)

    def mean(self, values: Floats, inside: NDArray[np.bool_], keep: Floats, level: float = 0.95) -> Estimate:
        size = np.ones(int(inside.sum()))
        return ratio(values[inside], size, keep[inside], of="process", clusters=self.members[inside], level=level)

    def row(self, task: NDArray[np.bool_], level: float) -> tuple[Any, ...]:
        inside = task & self.counts
        change = self.change(inside, level)
        told = [self.mean(values, inside, self.keep).value for values in self.quality]
        served = [int((mask & inside).sum()) for mask in self.served]
        return self.verdict(inside, change, served), *told, change.value, change.low, change.high, int(inside.sum()), *served

    def verdict(self, inside: NDArray[np.bool_], change: Estimate, served: list[int]) -> str:
        if inside.sum() < _FEWEST:
            return FEW
        if change.low <= 0 <= change.high:
            return SAME
        found, favoured = (HELPS, served[1]) if change.value > 0 else (HARMS, served[0])
        return OWN if favoured and not self.both(inside) else found
