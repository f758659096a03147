"""Does an order put what members chose above what they saw and did not choose? On pages that were shown, which favours what made them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis import estimate
from diagnosis.detect.readiness.evidence import Evidence
from diagnosis.errors import CannotSayError
from diagnosis.estimate import Estimate
from diagnosis.internals.two_versions import members_of
from diagnosis.log.records import Batch
from diagnosis.models import Bundle, Model, assemble
from diagnosis.reproduce.batch import wholes

Floats = NDArray[np.float64]
FEWEST = 30  # pages with something chosen and something not


class Shown:
    """Shown candidates of the pages on which something was chosen and something was not.

    Attributes
    ----------
    batch : Batch
    rows : array of int64, shape (rows,)
        Candidates of the batch that count.
    pairs : array of int64, shape (pairs, 2)
        Of `rows`: chosen, not chosen; of the same page.

    Raises
    ------
    CannotSayError
        If there are fewer than 30 such pages.
    """

    def __init__(self, batch: Batch, hits: NDArray[np.bool_]) -> None:
        shown = wholes(batch.candidates, "position") > 0
        good = np.bincount(batch.owner[shown & hits], minlength=len(batch)) > 0
        other = np.bincount(batch.owner[shown & ~hits], minlength=len(batch)) > 0
        held = good & other
        if held.sum() < FEWEST:
            raise CannotSayError(f"Members chose something on {int(held.sum())} of the sampled pages, too few to judge an order.")
        self.batch = batch
        self.rows = np.flatnonzero(shown & held[batch.owner])
        self.pairs = _pairs(batch.owner[self.rows], hits[self.rows])
        self._of = batch.owner[self.rows][self.pairs[:, 0]]

    def concordance(self, score: Floats) -> Floats:
        """Of each pair 1 if the chosen one scores higher, 0.5 if both alike; shape (pairs,); `score` has shape (rows,)."""
        a, b = score[self.pairs[:, 0]], score[self.pairs[:, 1]]
        return np.asarray(np.where(a > b, 1.0, np.where(a < b, 0.0, 0.5)))

    def mean(self, values: Floats, wanted: NDArray[np.bool_] | None = None) -> Estimate:
        """Of a value a pair, every page counting as it is weighted, requests of a member together.

        Parameters
        ----------
        wanted : array of bool, shape (requests,), optional
            Pages that count; all when not given.

        Raises
        ------
        CannotSayError
            If fewer than 30 of them do.
        """
        size = np.bincount(self._of, minlength=len(self.batch)).astype(np.float64)
        sums = np.bincount(self._of, weights=values, minlength=len(self.batch))
        held = size > 0 if wanted is None else (size > 0) & wanted
        if held.sum() < FEWEST:
            raise CannotSayError(f"Only {int(held.sum())} pages of it have something chosen and something not.")
        per_page = np.where(held, sums / np.maximum(size, 1.0), 0.0)
        return estimate.ratio(per_page, held.astype(np.float64), 1.0 / self.batch.weights, of="process", clusters=members_of(self.batch))

    def given(self, bundle: Bundle) -> pd.DataFrame:
        """What a model is given for `rows`."""
        return assemble(bundle, self.batch).iloc[self.rows].reset_index(drop=True)

    def scored(self, model: Model, given: pd.DataFrame) -> Floats:
        """Scores of `rows`.

        Raises
        ------
        CannotSayError
            If the model needs whole lists: only shown candidates are scored here.
        """
        if model.bundle.scope != "row":
            raise CannotSayError(f"{model.bundle.name} scores whole lists, of which pages are a part.")
        return np.asarray(model.score(given), dtype=np.float64)


def shown_of(seen: Evidence) -> Shown:
    """Of the sample of the evidence."""
    return Shown(seen.batch, seen.hits)


def _pairs(owner: NDArray[np.int64], hits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Every chosen row with every other of its page."""
    good = pd.DataFrame({"owner": owner[hits], "good": np.flatnonzero(hits)})
    other = pd.DataFrame({"owner": owner[~hits], "other": np.flatnonzero(~hits)})
    return np.asarray(good.merge(other, on="owner")[["good", "other"]].to_numpy(), dtype=np.int64)
