"""The training rows behind the score of an item of a logged request: all that can be said of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnosis.errors import CannotSayError, DiagnosisError, NotFoundError
from diagnosis.internals.contributions import explained_model
from diagnosis.internals.coverage import Coverage, coverage
from diagnosis.internals.influence import Influence, influence
from diagnosis.internals.support import Support, support
from diagnosis.internals.training_rows import TrainingRows, taught, training_rows
from diagnosis.internals.versions import records
from diagnosis.log.records import Request
from diagnosis.models import Model, assemble, encode
from diagnosis.reproduce import Workbench


@dataclass(frozen=True, eq=False)
class Behind:
    """What training held of an item's row, and what holds its score; None where something cannot be said, and `notes` says why.

    Attributes
    ----------
    version : str
        Of the model.
    notes : dict of str to str
        ``support`` or ``influence`` → why it is None.
    total, used : int
        Training rows of the file, and how many of them were looked at.
    """

    item: str
    version: str
    coverage: Coverage
    support: Support | None
    influence: Influence | None
    notes: dict[str, str]
    total: int
    used: int

    @property
    def sentences(self) -> dict[str, str]:
        """What is known, a sentence a part; where nothing is, why."""
        parts = {"coverage": self.coverage, "support": self.support, "influence": self.influence}
        return {name: part.sentence if part is not None else self.notes[name] for name, part in parts.items()}

    def as_json(self) -> dict[str, Any]:
        """As plain values; NaN is None."""
        found: dict[str, Any] = {"model_version": self.version, "rows": self.total, "used": self.used, "sentences": self.sentences}
        found |= {"values": records(self.coverage.values), "pairs": records(self.coverage.pairs)}
        if self.support is not None:
            found |= {name: records(getattr(self.support, name)) for name in ("leaves", "groups", "near")}
        if self.influence is not None:
            found |= {"influential": records(self.influence.rows), "slices": records(self.influence.slices)}
            found |= {"reproduced": self.influence.reproduced}
        return found


def behind(workbench: Workbench, request: Request, item: str, *, above: str = "", rows: TrainingRows | None = None) -> Behind:
    """The training rows behind the score of a candidate, by the model that the log names; or behind its margin over another.

    Of a composite: by the last stage that scores the request's task.

    Parameters
    ----------
    rows : TrainingRows, optional
        Of that model, where they are at hand.

    Raises
    ------
    NotFoundError
        If an item is no candidate.
    CannotSayError
        If the log names no model, or it has no training rows.
    NotAdmittedError, ChangedArtifactError, BundleError, MissingFeaturesError
    """
    for wanted in (item, *([above] if above else [])):
        if wanted not in request.items:
            raise NotFoundError("candidate", wanted, request.items)
    bundle = workbench.bundle_of(request)
    if bundle is None:
        raise CannotSayError(f"The log names no model for request {request.request_id!r}.", "choose a request that a model served.")
    model = explained_model(workbench, request)
    bundle = model.bundle
    rows = rows or training_rows(bundle)
    features = assemble(bundle, request.batch)
    place, other = request.items.index(item), request.items.index(above) if above else None
    matrix = encode(bundle, features)
    saw = coverage(rows, features.iloc[[place]], matrix[place])
    held, holds, notes = _of_leaves(model, rows, matrix, place, other, item, above)
    return Behind(item, bundle.version, saw, held, holds, notes, rows.total, len(rows))


def _of_leaves(
    model: Model, rows: TrainingRows, matrix: Any, place: int, other: int | None, item: str, above: str
) -> tuple[Support | None, Influence | None, dict[str, str]]:
    try:
        given = taught(model, rows)
    except DiagnosisError as error:
        return None, None, {"support": error.message, "influence": error.message}
    held = support(given, matrix[place], item)
    try:
        holds = influence(given, matrix[place], item, against=None if other is None else matrix[other], other=above)
    except DiagnosisError as error:
        return held, None, {"influence": error.message}
    return held, holds, {}
