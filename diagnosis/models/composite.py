"""Models that score one after the other: each stage scores what the one before kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import BundleError
from diagnosis.models.bundle import Bundle, Feature
from diagnosis.models.stages import Stage

if TYPE_CHECKING:
    from diagnosis.models.scoring import Model

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Run:
    """What the stages made of some requests.

    Attributes
    ----------
    score : array of float64, shape (rows,)
        Of the last stage that scored a candidate; NaN for those that a stage did not keep.
    dropped_by : array of object, shape (rows,)
        Name of the stage that did not keep a candidate; None where all kept it.
    by_stage : dict of str to array of float64, shape (rows,)
        Scores of each stage; NaN for candidates that did not come to it.
    """

    score: Floats
    dropped_by: NDArray[np.object_]
    by_stage: dict[str, Floats]


class CompositeModel:
    """Several models, one after the other.

    Parameters
    ----------
    build : callable
        Makes a model of a bundle and the bytes of its artifact.

    Raises
    ------
    BundleError
        If the artifact of a stage cannot be read, or is not the file that the manifest describes.
    """

    def __init__(self, bundle: Bundle, build: Callable[[Bundle, bytes], Model]) -> None:
        self.bundle = bundle
        self.stages: dict[str, Model] = {}
        for stage in bundle.stages:
            try:
                data = (bundle.folder / stage.artifact).read_bytes()
            except OSError as error:
                raise BundleError(f"Stage {stage.name!r}: {error.strerror}: {stage.artifact}.", "restore the file.") from None
            digest = hashlib.sha256(data).hexdigest()
            if digest != stage.sha256:
                hint = f"restore it, or set sha256 = {digest!r} and admit it again if the change is meant."
                raise BundleError(f"{stage.artifact} of stage {stage.name!r} is not the file that the manifest describes.", hint)
            self.stages[stage.name] = build(bundle_of_stage(bundle, stage), data)

    def score(self, features: pd.DataFrame, *, groups: NDArray[np.int64] | None = None, threads: int | None = None) -> Floats:
        """See `Model`; NaN for candidates that a stage does not keep. Without `groups` all rows are of one request."""
        return self.run(features, groups, threads).score

    def run(self, features: pd.DataFrame, groups: NDArray[np.int64] | None = None, threads: int | None = None) -> Run:
        """Every stage in turn."""
        n = len(features)
        groups = np.array([n], dtype=np.int64) if groups is None else groups
        owner, tasks = np.repeat(np.arange(len(groups)), groups), self._tasks(features)
        score, alive = np.full(n, np.nan), np.ones(n, dtype=np.bool_)
        dropped: NDArray[np.object_] = np.full(n, None, dtype=object)
        by_stage: dict[str, Floats] = {}
        for stage in self.bundle.stages:
            here = alive & np.array([stage.applies_to(t) for t in tasks], dtype=np.bool_) if stage.tasks else alive.copy()
            made = by_stage[stage.name] = np.full(n, np.nan)
            if not here.any():
                continue
            held = np.bincount(owner[here], minlength=len(groups))
            given = features.loc[here, list(stage.features)].reset_index(drop=True)
            made[here] = self.stages[stage.name].score(given, groups=held[held > 0], threads=threads)
            score[here] = made[here]
            gone = _beyond(made, here, owner, stage.keep)
            dropped[gone], score[gone] = stage.name, np.nan
            alive &= ~gone
        return Run(score, dropped, by_stage)

    def stage_for(self, task: str | None) -> str:
        """Name of the stage whose score is the last for requests of that task.

        Raises
        ------
        BundleError
            If none scores them.
        """
        named = [s.name for s in self.bundle.stages if s.applies_to(task)]
        if not named:
            raise BundleError(f"No stage of {self.bundle.name} {self.bundle.version} scores requests of task {task!r}.", "add one.")
        return named[-1]

    def _tasks(self, features: pd.DataFrame) -> list[str | None]:
        name = next((f.name for f in self.bundle.features if f.source == "requests.task"), None)
        return [None] * len(features) if name is None else [t if isinstance(t, str) else None for t in features[name]]


def _beyond(score: Floats, here: NDArray[np.bool_], owner: NDArray[np.int64], keep: int) -> NDArray[np.bool_]:
    """Candidates that come after the `keep` best of their request; of equal scores those that stand first are kept, NaN comes last."""
    gone = np.zeros(len(score), dtype=np.bool_)
    if not keep:
        return gone
    rows = np.flatnonzero(here)
    order = rows[np.lexsort((-score[rows], owner[rows]))]
    _, first = np.unique(owner[order], return_index=True)
    place = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
    gone[order[place >= keep]] = True
    return gone


def bundle_of_stage(bundle: Bundle, stage: Stage) -> Bundle:
    """The bundle that one stage would be alone: its own features, in its order."""
    by_name: dict[str, Feature] = {f.name: f for f in bundle.features}
    features = tuple(by_name[name] for name in stage.features)
    name = f"{bundle.name}/{stage.name}"
    last = stage is bundle.stages[-1]
    return replace(
        bundle,
        name=name,
        kind=stage.kind,
        artifact=stage.artifact,
        sha256=stage.sha256,
        features=features,
        scope="row",
        stages=(),
        link=bundle.link if last else "",
        objective=bundle.objective if last else "",
    )
