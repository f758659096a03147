"""Which page a fallback would have made: its order is learned from pages that it did make."""

from __future__ import annotations

import numpy as np

from diagnosis.errors import CannotSayError
from diagnosis.localize.sample import Floats, Ints, Mask
from diagnosis.resolve.scene import Scene

FEWEST = 30  # requests that it answered
ALIKE = 0.6  # share of its pages that must be told rightly
_MADE = frozenset(("position", "rank", "score", "probability", "propensity"))  # what serving wrote, not what it went by


def emulated(scene: Scene, fallback: str) -> tuple[Floats, str]:
    """By which value a fallback orders the candidates of every request, best first; and how sure that is, in words.

    The value is a logged number of the candidates, or how often an item stood on its pages in the task, whichever tells more of the pages
    that it made. Its items are taken from the logged candidates.

    Returns
    -------
    array of float64, shape (candidates,)
        NaN for candidates that are on none of its pages.

    Raises
    ------
    CannotSayError
        If too few logged requests were answered by it, or their pages follow no order that can be told.
    """
    sample = scene.sample
    codes, names = sample.words("fallback")
    known = sorted(str(n) for n in names if n is not None)
    answered = codes == names.index(fallback) if fallback in names else np.zeros(len(sample), dtype=np.bool_)
    if answered.sum() < FEWEST:
        there = f"the log knows {', '.join(known)}" if known else "the log knows none"
        raise CannotSayError(
            f"Only {int(answered.sum())} of the requests read were answered by the fallback {fallback!r}, too few to learn its pages from.",
            f"{there}; read more requests.",
        )
    best, said, right = np.zeros(0), "", -1.0
    for name, value in _orders(scene, answered):
        share = _told(scene, value, answered)
        if share > right:
            best, said, right = value, name, share
    if right < ALIKE:
        raise CannotSayError(
            f"The pages of the fallback {fallback!r} follow no order that the log shows ({right:.0%} of their items are told rightly).",
            "log what it goes by as a column of the candidates.",
        )
    return best, f"pages of the fallback are made anew {said}, which tells {right:.0%} of the items on the pages that it did make"


def _orders(scene: Scene, answered: Mask) -> list[tuple[str, Floats]]:
    """What the fallback might go by, each with its name."""
    sample = scene.sample
    found = [("by how often it showed an item", _shown_by_item(scene, answered))]
    for name in sample.batch.candidates.column_names:
        value = sample.numbers(name) if name not in _MADE else np.zeros(0)
        held = value[np.isfinite(value)]
        if len(held) and held.min() < held.max():
            found += [(f"by {name}, the highest first", value), (f"by {name}, the lowest first", -value)]
    gone = _dropped(sample.words("dropped_by", "candidates"))
    return [(name, np.where(gone, np.nan, value)) for name, value in found]


def _dropped(words: tuple[Ints, tuple[object, ...]]) -> Mask:
    """Candidates that something other than the end of the page removed."""
    codes, names = words
    return np.array([name != "slots" for name in names] + [False], dtype=np.bool_)[codes]


def _shown_by_item(scene: Scene, answered: Mask) -> Floats:
    """Share of its pages with an item as a candidate on which it stood, those at the top counting more; within a task."""
    sample = scene.sample
    items, tasks = sample.words("item_id", "candidates")[0], sample.words("task")[0][sample.owner]
    key = items * (int(tasks.max(initial=0)) + 1) + np.maximum(tasks, 0)
    rows, position = answered[sample.owner], scene.stage.logged_position
    size = int(key.max(initial=-1)) + 1
    worth = np.where(position > 0, 1 / np.log2(position + 1.0, where=position > 0, out=np.ones(len(position))), 0.0)
    seen = np.bincount(key[rows], minlength=size)
    total = np.bincount(key[rows], weights=worth[rows], minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((total / seen)[key], dtype=np.float64)


def _told(scene: Scene, value: Floats, answered: Mask) -> float:
    """Share of the items on the fallback's pages that the order puts there too."""
    sample = scene.sample
    shown, owner = scene.stage.logged_position > 0, sample.owner
    size = np.bincount(owner[shown], minlength=len(sample))
    rows = np.flatnonzero(answered[owner] & np.isfinite(value))
    order = rows[np.lexsort((-value[rows], owner[rows]))]
    starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
    nth = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    taken = order[nth < size[owner[order]]]
    return float(shown[taken].sum() / max(shown[answered[owner]].sum(), 1))
