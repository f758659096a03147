"""What the tests of readiness look at, read once: a sample of the log, the model that serves, the versions before it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.detect.levels import before_of
from diagnosis.errors import CannotSayError
from diagnosis.inputs import Contract, check, contracts_of
from diagnosis.log.records import Batch
from diagnosis.metrics import positives
from diagnosis.models import Bundle, Model
from diagnosis.reproduce import Workbench
from diagnosis.store import Query

SAMPLED, CHECKED, DAYS = 1500, 40, 7
HOLDS, MISSING, CANNOT_TELL = ANSWERS = ("holds", "missing", "cannot_tell")


@dataclass(frozen=True)
class Answer:
    """What one test came to.

    Attributes
    ----------
    answer : str
        ``holds``, ``missing`` or ``cannot_tell`` (nobody can tell from here).
    found : str
        What was measured, with the number.
    to_do : str
        What would make it hold, or would let it be told.
    repeated : bool
        Whether scheduled detection asks it again by itself.
    """

    answer: str
    found: str
    to_do: str = ""
    repeated: bool = False


def holds(found: str, *, repeated: bool = False) -> Answer:
    """It holds as measured."""
    return Answer(HOLDS, found, "", repeated)


def missing(found: str, to_do: str) -> Answer:
    """It does not hold, or what it needs is not there."""
    return Answer(MISSING, found, to_do)


def cannot_tell(found: str, to_do: str = "") -> Answer:
    """Nobody can tell from here."""
    return Answer(CANNOT_TELL, found, to_do)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the tests look at.

    Attributes
    ----------
    watched : bool
        Whether scheduled detection runs on this workspace: only then is what it asks counted as automated.
    delivers : bool
        Whether it tells somebody.
    """

    workbench: Workbench
    watched: bool
    delivers: bool

    @cached_property
    def window(self) -> tuple[datetime, datetime]:
        """First moment of the log, and the first after it."""
        found = self.workbench.snapshot.window()
        if found is None:
            raise CannotSayError("No request is logged here yet.", "log requests, or import a log.")
        return found[0].astimezone(UTC), found[1].astimezone(UTC) + timedelta(microseconds=1)

    @cached_property
    def bundle(self) -> Bundle:
        """The version that served the latest request that a model served; if it is not here, the one here that served most."""
        snapshot = self.workbench.snapshot
        latest = snapshot.find(Query(status="ok", limit=1))
        if not len(latest) or "model_version" not in latest:
            raise CannotSayError("The log names no model that serves.", "log model and model_version.")
        versions = [latest["model_version"].iloc[0], *snapshot.distinct("requests", "model_version")]
        known = {b.version: b for b in self.workbench.bundles}
        here = [known[v] for v in versions if v in known]
        if not here:
            raise CannotSayError("No version that served is here.", "`diagnosis models add` it.")
        return here[0]

    @cached_property
    def before(self) -> Bundle | None:
        """The version before it."""
        return before_of(self.bundle, self.workbench.bundles)

    @cached_property
    def model(self) -> Model:
        """The model that serves, loaded."""
        return self.workbench.model(self.bundle.name, self.bundle.version)

    @cached_property
    def contracts(self) -> tuple[Contract, ...]:
        """Feature contracts."""
        return contracts_of(self.workbench)

    @cached_property
    def batch(self) -> Batch:
        """Sampled requests that the model served in the last week whose outcomes are in."""
        settings = self.workbench.workspace.settings
        until = max(self.window[1] - timedelta(seconds=settings.attribution_time_s), self.window[0] + timedelta(microseconds=1))
        query = Query(status="ok", model_version=self.bundle.version, since=until - timedelta(days=DAYS), until=until)
        batch = self.workbench.snapshot.sample(SAMPLED, query=query, thinned=True)
        if len(batch) < 30:
            raise CannotSayError(f"Only {len(batch)} requests of the last week were served by {self.bundle.version}.")
        return batch

    @cached_property
    def hits(self) -> NDArray[np.bool_]:
        """Which candidates of `batch` had a positive event."""
        settings = self.workbench.workspace.settings
        return positives(self.batch, settings.positive_events, settings.attribution_time_s)

    @cached_property
    def checks(self) -> pd.DataFrame:
        """Input checks of the first `CHECKED` requests of `batch`; see `diagnosis.inputs.Checks`."""
        ids = self.batch.request_ids[:: max(1, len(self.batch) // CHECKED)][:CHECKED]
        return pd.concat([check(self.workbench, self.batch.one(request_id)).rows for request_id in ids], ignore_index=True)

    @property
    def named(self) -> str:
        """The model that serves, in words."""
        return f"{self.bundle.name} {self.bundle.version}"


def listed(names: list[str], most: int = 4) -> str:
    """A few of many names.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"
