"""A logged request explained against other requests: the baseline window, or the same slice of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from diagnosis.internals.cohort import cohort_against
from diagnosis.internals.contributions import Contributions, given_to
from diagnosis.log.records import Request
from diagnosis.models import assemble, encode
from diagnosis.reproduce import NO_EDITS, Edits, Workbench
from diagnosis.store import Query

REQUESTS = 500  # of the background, at most


def explain_against(
    workbench: Workbench, request: Request, query: Query, *, edits: Edits = NO_EDITS, stage: str = "", most: int = REQUESTS
) -> Contributions:
    """Contributions that part a request's candidates from those of the requests of `query`: interventional tree SHAP.

    `Contributions.base` is the mean score of the background by the same model, weighted by what its requests stand for. Which features
    are there, and which stage of a composite, is as in `explain`.

    Parameters
    ----------
    query : Query
        The background: a window, and what its requests have in common.
    most : int
        Requests of the background; of more, a sample.

    Raises
    ------
    CannotSayError
        If the background has no candidates, or the model is no sum of trees.
    ModelError, NotFoundError, MissingFeaturesError
        See `explain`.
    """
    model, features, items = given_to(workbench, request, edits, stage)
    batch = workbench.snapshot.sample(most, query=query)
    background = encode(model.bundle, assemble(model.bundle, batch))
    found = cohort_against(model, encode(model.bundle, features), background, weights=batch.weights[batch.owner])
    index = pd.Index(np.array(items, dtype=object), name="item_id")
    values = pd.DataFrame(found.values, index=index, columns=list(found.names))
    method = f"{found.method} of {len(batch):,} requests"
    return Contributions(values, np.full(len(items), found.base), found.score, features.set_axis(index, axis=0), method, found.scale)
