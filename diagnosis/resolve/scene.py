"""Where fixes are rehearsed: logged requests of all tasks in memory, with the models and rules that served them and a judge of pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

import numpy as np

from diagnosis.errors import CannotSayError, DiagnosisError
from diagnosis.localize.case import Case, judged, known_scores, prepare
from diagnosis.localize.columns import Column, Columns
from diagnosis.localize.effects import clean_columns
from diagnosis.localize.finding import find_suspects
from diagnosis.localize.judge import Judge, Outcomes, needs_outcomes, with_pages
from diagnosis.localize.result import moment
from diagnosis.localize.sample import Floats, Ints, Mask, Sample, read
from diagnosis.localize.stage import Played, Stage, World
from diagnosis.localize.suspects import Suspect
from diagnosis.localize.windows import Window, check_windows
from diagnosis.log.records import to_frame
from diagnosis.metrics import Metric, PerRequest, per_request
from diagnosis.reproduce import Workbench
from diagnosis.resolve.actions import Action
from diagnosis.resolve.floods import newcomers
from diagnosis.resolve.lastgood import last_good
from diagnosis.resolve.seal import drawn

MOST = 6_000  # requests of each window
CHANGED = ("code", "config")  # kinds of changes that can be rolled back by name
Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that rehearsals of one case share.

    Attributes
    ----------
    window : Window
        The requests in it are played again; those of `baseline` teach the judge what members do, and hold good values.
    clean : Columns
        Features as they should have been, as far as can be told: what members react to.
    served : Played
        Pages as they were served, by the same rules that fixes are played with.
    known : array of float64, shape (candidates,)
        Scores over `clean` that the log tells; NaN elsewhere.
    suspects : tuple of Suspect
        What is not as it was in the baseline, and how to put it back.
    newcomers : array of float64, shape (candidates,)
        What an outcome of an item that the baseline never showed is multiplied by, as the window shows it; see `diagnosis.resolve.floods`.
    """

    case: Case
    judge: Judge
    clean: Columns
    served: Played
    known: Floats
    baseline: Window
    window: Window
    suspects: tuple[Suspect, ...] = ()
    newcomers: Floats | None = None

    @property
    def sample(self) -> Sample:
        """The requests."""
        return self.case.sample

    @property
    def stage(self) -> Stage:
        """What they can be played on."""
        return self.case.stage

    @property
    def world(self) -> World:
        """The world as it was logged."""
        return self.case.world

    @property
    def metric(self) -> Metric:
        """What is judged."""
        return self.case.metric

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the requests."""
        return [str(i) for i in self.sample.batch.request_ids]

    def valued(self, outcomes: Outcomes | None) -> PerRequest:
        """The metric of every request as it was served, as a model of outcomes judges; found once a model."""
        key = f"valued {id(outcomes)}"
        if key not in self.sample.kept:
            self.sample.kept[key] = valued(self, self.stage, self.served, outcomes)
        found: PerRequest = self.sample.kept[key]
        return found

    def last_good(self, column: Column, before: str, hit: Mask) -> Floats:
        """The last good values of a feature from before a time, for the candidates of hit requests; see `diagnosis.resolve.lastgood`."""
        contract = self.case.contracts.get(column.source)
        snapshot, at = self.case.workbench.snapshot, datetime.fromisoformat(before)
        return last_good(snapshot, self.sample, self.baseline, column, contract, at, hit)

    def changed_from(self, what: str, to: str) -> float | None:
        """When a deployment or setting last left a version or value, before the end of the window; seconds since 1970, None if never."""
        rows = self.case.workbench.snapshot.changes(until=self.window.until)
        mine = rows[rows["kind"].isin(CHANGED) & (rows["target"].astype(str) == what) & (rows["before"].astype(str) == to)]
        return float(mine["changed_at"].max().timestamp()) if len(mine) else None

    def requests_of(self, action: Action, environment: str = "") -> Mask:
        """Requests of the window that an action is for.

        Parameters
        ----------
        environment : str
            Where the fix is published; where the log has none of that name, it is for all.

        Raises
        ------
        FilterError
        """
        sample = self.sample
        names = [*action.where.attributes] or ["request_id"]
        columns = {n.partition(".")[0] if n not in sample.batch.requests.column_names else n for n in names}
        frame = to_frame(sample.batch.requests.select([c for c in sample.batch.requests.column_names if c in columns]))
        hit = sample.incident & (action.where.mask(frame) if action.where else np.ones(len(sample), dtype=np.bool_))
        codes, levels = sample.words("environment")
        if environment in levels:
            hit &= codes == levels.index(environment)
        if action.share < 1:
            hit &= np.array([drawn(i, action.kind) < action.share for i in self.ids], dtype=np.bool_)
        return hit


def valued(scene: Scene, stage: Stage, played: Played, outcomes: Outcomes | None) -> PerRequest:
    """The metric of every request of a stage (of the scene, or a part of it) when it serves these pages, as a model of outcomes judges."""
    judge, kept = scene.judge, stage.kept
    if outcomes is None:
        shown = with_pages(stage.sample, played)
        return per_request(scene.metric, shown, items=stage.sample.items, success=np.zeros(len(played.position), dtype=np.bool_))
    position = played.position.astype(np.float64)
    chance = outcomes.chance(scene.clean.take(kept), position, played.position > 0, scene.known[kept])
    chance = chance if scene.newcomers is None else np.minimum(chance * scene.newcomers[kept], 1.0)
    return Judge(judge.metric, judge.success, outcomes).expected(stage, played, scene.clean, chance)


def part_of(world: World, stage: Stage, rows: Ints) -> tuple[Stage, World]:
    """Some requests of a stage, and a world of theirs."""
    part = stage.take(rows)
    chosen = np.zeros(len(stage.sample), dtype=np.bool_)
    chosen[rows] = True
    kept = chosen[stage.sample.owner]
    names = ("model", "ruleset", "rescored", "replayed", "upside_down")
    arrays = {name: getattr(world, name)[rows] for name in names}
    return part, replace(world, columns=world.columns.take(kept), absent=world.absent[kept], **arrays)


def open_scene(
    workbench: Workbench,
    metric: Metric,
    baseline: Window,
    window: Window,
    *,
    most: int = MOST,
    progress: Progress = lambda text, share: None,
) -> Scene:
    """Read at most `most` requests of each window, of every task, and make ready to play them.

    Raises
    ------
    WindowError
        If the windows overlap or lie outside the log.
    CannotSayError
        If a window holds no request, or the metric is no sum over requests.
    MissingColumnError
    """
    check_windows(baseline, window, workbench.snapshot.window())
    if metric.kind != "ratio":
        raise CannotSayError(f"{metric.name} is no sum over requests, so a fix cannot be judged by it.", "ask for ctr or fallback_rate.")
    if needs_outcomes(metric) and "outcomes" not in workbench.snapshot.tables():
        raise CannotSayError(f"{metric.name} counts outcomes, and this log has none.", "ask for score_mean or an exposure.")
    progress("reading requests of all tasks", 0.05)
    sample = read(workbench.snapshot, baseline, window, most=most)
    case = prepare(workbench, metric, sample)
    progress("learning what members do on a page", 0.25)
    judge = judged(case)
    progress("looking at what the features should have been", 0.4)
    try:
        suspects = find_suspects(case)[1]
    except DiagnosisError:
        suspects = []  # what is wrong with features cannot be told; they are taken as they are
    known = known_scores(case.stage, case.world, judge.outcomes.model if judge.outcomes else None, suspects)
    clean = _clean(workbench, case, baseline, suspects)
    scene = Scene(case, judge, clean, case.stage.play(case.world), known, baseline, window, tuple(suspects))
    return replace(scene, newcomers=_newcomers(scene)) if judge.outcomes is not None else scene


def _newcomers(scene: Scene) -> Floats:
    """Outcomes of new items in the window, over what the model of outcomes expects of the pages that were served."""
    sample, outcomes = scene.sample, scene.judge.outcomes
    assert outcomes is not None
    position = scene.stage.logged_position
    rows = (position > 0) & sample.incident[sample.owner]
    chance = outcomes.chance(scene.clean, position.astype(np.float64), rows, scene.known)
    items = sample.words("item_id", "candidates")[0]
    before = np.bincount(items, weights=(position > 0) & ~rows)
    return newcomers(items, before[items] > 0, rows, scene.judge.success.of(sample), chance)


def _clean(workbench: Workbench, case: Case, baseline: Window, suspects: Sequence[Suspect]) -> Columns:
    """Features as they should have been. What is a member's own is their last good value where the log has one: better than a guess."""
    clean = clean_columns(case.stage, suspects)
    for suspect in suspects:
        for column in suspect.repair.columns if suspect.repair is not None else ():
            contract = case.contracts.get(column.source)
            if contract is None or "member" not in contract.entity:
                continue
            logged = case.stage.columns[column.source]
            good = last_good(workbench.snapshot, case.sample, baseline, logged, contract, moment(suspect.since), suspect.hit)
            rows = suspect.hit[case.sample.owner] & ~np.isnan(good)
            clean = clean.having([clean[column.source].put(rows, good)])
    return clean


def with_model(scene: Scene, name: str, version: str) -> tuple[Scene, int]:
    """The scene with a model put on it, and the model's place.

    Raises
    ------
    NotFoundError, NotAdmittedError, ModelError
    CannotSayError
        If the log lacks features of the model.
    """
    models = scene.stage.models
    if (name, version) not in models:
        model = scene.case.workbench.model(name, version)
        lacking = scene.stage.columns.lacks(model.bundle)
        if lacking:
            raise CannotSayError(f"The log lacks {', '.join(lacking[:5])}, which {name} {version} is given.")
        models = {**models, (name, version): model}
    stage = replace(scene.stage, models=models)
    return replace(scene, case=replace(scene.case, stage=stage)), list(models).index((name, version))


def with_ruleset(scene: Scene, version: str) -> tuple[Scene, int]:
    """The scene with a ruleset put on it, and its place.

    Raises
    ------
    NotFoundError, RulesError
    """
    held = scene.stage.rulesets
    held = held if version in held else {**held, version: scene.case.workbench.ruleset(version)}
    stage = replace(scene.stage, rulesets=held)
    return replace(scene, case=replace(scene.case, stage=stage)), list(held).index(version)
