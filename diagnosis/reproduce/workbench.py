"""A workspace with everything that a question about it needs: one pinned snapshot, models, rulesets, contracts, state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from diagnosis.errors import CannotSayError, DiagnosisError, MetricError, NotFoundError, RulesError
from diagnosis.log.filters import Clause, Filter
from diagnosis.log.records import Request
from diagnosis.metrics import Metric, metric, own_metric
from diagnosis.models import Admission, BrokenBundle, Bundle, Model, Problem, admit, list_bundles, load, preflight
from diagnosis.reproduce.batch import SERVED
from diagnosis.reproduce.edits import NO_EDITS, Edits
from diagnosis.reproduce.replay import replay, unavailable_reason
from diagnosis.reproduce.result import Replay
from diagnosis.rules import Ruleset, read_ruleset
from diagnosis.store import Query, Snapshot, State, Workspace
from diagnosis.store.settings import FILE

_NEARBY = timedelta(days=2)  # how far to look for the model that served at the time


@dataclass(frozen=True, eq=False)
class Workbench:
    """What a question is asked of.

    Attributes
    ----------
    snapshot : Snapshot
        One version of every table; `refreshed` gives a workbench of the latest.
    """

    workspace: Workspace
    snapshot: Snapshot

    @classmethod
    def open(cls, path: str | Path) -> Workbench:
        """Open the workspace in `path` as it is now.

        Raises
        ------
        WorkspaceError, TableError
        """
        workspace = Workspace.open(path)
        return cls(workspace, workspace.snapshot())

    def refreshed(self) -> Workbench:
        """The same workspace with the latest version of every table."""
        return Workbench(self.workspace, self.workspace.snapshot())

    @property
    def state(self) -> State:
        """Cases, shares, admissions, audit."""
        return self.workspace.state()

    @cached_property
    def listed(self) -> list[Bundle | BrokenBundle]:
        """Every bundle, broken ones included."""
        return list_bundles(self.workspace.models_dir)

    @property
    def bundles(self) -> list[Bundle]:
        """Bundles that can be read, by name and version."""
        return [b for b in self.listed if isinstance(b, Bundle)]

    @cached_property
    def admissions(self) -> dict[tuple[str, str], Admission]:
        """Which bundles were admitted on this machine."""
        return {key: Admission.from_record(record) for key, record in self.state.admissions(self.workspace.id).items()}

    @cached_property
    def _read_rulesets(self) -> tuple[dict[str, Ruleset], dict[str, str]]:
        good, bad = {}, {}
        for file in sorted(self.workspace.rulesets_dir.glob("*.toml")):
            try:
                ruleset = read_ruleset(file)
            except RulesError as error:
                bad[file.stem] = error.message
            else:
                good[ruleset.version] = ruleset
        return good, bad

    @property
    def rulesets(self) -> dict[str, Ruleset]:
        """Every ruleset that can be read, by version."""
        return self._read_rulesets[0]

    @property
    def broken_rulesets(self) -> dict[str, str]:
        """What is wrong with each ruleset that cannot be read, by file name without ``.toml``."""
        return self._read_rulesets[1]

    @cached_property
    def own_metrics(self) -> dict[str, Metric]:
        """Metrics of the workspace's own, by name; `broken_metrics` has those that cannot be read."""
        return {name: found for name, found in self._own_metrics.items() if isinstance(found, Metric)}

    @property
    def broken_metrics(self) -> dict[str, MetricError]:
        """What is wrong with each metric that cannot be read."""
        return {name: found for name, found in self._own_metrics.items() if isinstance(found, MetricError)}

    @cached_property
    def _own_metrics(self) -> dict[str, Metric | MetricError]:
        found: dict[str, Metric | MetricError] = {}
        settings = self.workspace.settings
        for name, entry in settings.metrics.items():
            try:
                found[name] = own_metric(
                    name, FILE, entry.model_dump(), positive=settings.positive_events, attribution_s=settings.attribution_time_s
                )
            except MetricError as error:
                found[name] = error
        return found

    def metric(self, name: str) -> Metric:
        """The metric of that name, built in or the workspace's own.

        Raises
        ------
        NotFoundError
        MetricError
            If it is the workspace's own and cannot be read.
        ValueError
            If an argument is missing or wrong.
        """
        if name.strip() in self.broken_metrics:
            raise self.broken_metrics[name.strip()]
        return metric(name, self.own_metrics)

    def bundle(self, name: str | None, version: str) -> Bundle:
        """The bundle of that model and version; any model when `name` is None.

        Raises
        ------
        NotFoundError
        """
        for bundle in self.bundles:
            if bundle.version == version and name in (None, bundle.name):
                return bundle
        versions = [b.version for b in self.bundles if name in (None, b.name)]
        hint = "" if self.bundles else "no model is here yet: `diagnosis models add` adds one."
        raise NotFoundError("model version", version, versions or [f"{b.version} of {b.name}" for b in self.bundles], hint, few=True)

    def model(self, name: str | None, version: str) -> Model:
        """The model of that version, admitted.

        Raises
        ------
        NotFoundError, NotAdmittedError, ChangedArtifactError, BundleError
        """
        bundle = self.bundle(name, version)
        return load(bundle, self.admissions.get((bundle.name, bundle.version)))

    def ruleset(self, version: str) -> Ruleset:
        """The ruleset of that version.

        Raises
        ------
        NotFoundError
        RulesError
            If it is there and cannot be read.
        """
        if version in self.rulesets:
            return self.rulesets[version]
        if version in self.broken_rulesets:
            raise RulesError(self.broken_rulesets[version], "correct the file.")
        raise NotFoundError("ruleset", version, self.rulesets, few=True)

    def admit(self, name: str | None = None, version: str | None = None, actor: str | None = None) -> list[Admission]:
        """Admit the bundles of that name and version, all when not given.

        Raises
        ------
        NotFoundError
            If there are none.
        BundleError
            If one is not as it should be; those before it are admitted.
        """
        chosen = [b for b in self.bundles if name in (None, b.name) and version in (None, b.version)]
        if not chosen:
            raise NotFoundError("model", f"{name or ''} {version or ''}".strip() or "(any)", [b.name for b in self.bundles], few=True)
        made = []
        for bundle in chosen:
            admission = admit(bundle)
            self.state.admit(self.workspace.id, admission.as_record(), actor)
            made.append(admission)
        self.__dict__.pop("admissions", None)
        return made

    def request(self, request_id: str, *, date: date | None = None) -> Request:
        """The request of that id.

        Raises
        ------
        NotFoundError
        """
        return self.snapshot.request(request_id, date=date)

    def items(self, request: Request) -> pd.DataFrame:
        """Attributes of a request's items as they were when it was served."""
        return self.snapshot.items(request.row["served_at"], list(dict.fromkeys(request.items)))

    def replay(
        self,
        request: Request | str,
        *,
        edits: Edits = NO_EDITS,
        tolerance: float = 0.0,
        noise: bool = False,
        tolerate_noise: bool = False,
    ) -> Replay:
        """Replay a request with the model and the ruleset that the log names, or those of `edits`.

        What is missing makes it `not_replayable`, with the reason; what `edits` names must exist. Where something else than a model made
        the page, the model that served the same task then is asked what it would have done. A what-if carries the plain replay.

        Raises
        ------
        NotFoundError
            If there is no such request, or `edits` names a version, an item or a feature that is not there.
        ValueError
            If an edit's value does not fit its feature, or the tolerance is negative.
        """
        if isinstance(request, str):
            request = self.request(request)
        row, items = request.row, self.items(request)
        model, problems, unavailable = self._model_for(request, edits)
        ruleset, notes = self._ruleset_of(row, edits)

        def run(ruleset: Ruleset | None, notes: Sequence[Problem]) -> Replay:
            return replay(
                request,
                model,
                ruleset=ruleset,
                items=items,
                edits=edits,
                tolerance=tolerance,
                noise=noise,
                tolerate_noise=tolerate_noise,
                problems=[*problems, *notes],
                unavailable=unavailable,
            )

        try:
            answer = run(ruleset, notes)
        except RulesError as error:
            if edits.ruleset:
                raise
            answer = run(None, [Problem("ruleset", None, f"{error.message.rstrip('.')}, so positions are not replayed.", False)])
        return replace(answer, plain=self.replay(request, tolerance=answer.tolerance)) if edits else answer

    def _model_for(self, request: Request, edits: Edits) -> tuple[Model | None, list[Problem], str]:
        """The model to score with, what is odd about it, and why it cannot be had."""
        bundle, problems = self._bundle_of(request.row, edits), []
        if bundle is None and request.row.get("status") in SERVED:
            bundle = self._served_then(request.row)
            if bundle is not None:
                text = f"The log names no model; {bundle.name} {bundle.version} served the task {request.task} at that time."
                problems.append(Problem("assumed_model", None, text, False))
        if bundle is None or isinstance(bundle, str):
            return None, problems, bundle or ""
        problems += self.preflight(request, bundle)
        if any(p.fatal for p in problems):
            return None, problems, ""
        try:
            return self.model(bundle.name, bundle.version), problems, ""
        except DiagnosisError as error:
            return None, problems, unavailable_reason(error)

    def _served_then(self, row: Any) -> Bundle | None:
        """The model that served the request of the same task (and environment) next to this one."""
        at, environment = row["served_at"], row.get("environment")
        if at is None:
            return None
        where = Filter((Clause("environment", "=", (environment,)),)) if environment else Filter()
        before = Query(where=where, task=row["task"], status="ok", since=at - _NEARBY, until=at, limit=1)
        after = replace(before, since=at, until=at + _NEARBY, newest_first=False)
        for query in (before, after):
            for _, near in self.snapshot.find(query).iterrows():
                found = self._bundle_of(near.to_dict(), NO_EDITS)
                if isinstance(found, Bundle):
                    return found
        return None

    def model_of(self, request: Request) -> Model:
        """The model that the log names for a request; where something else made the page, the one that served the task then.

        Raises
        ------
        CannotSayError
            If the log names none.
        NotFoundError, NotAdmittedError, ChangedArtifactError, BundleError
        """
        bundle = self.bundle_of(request)
        if bundle is None:
            raise CannotSayError(f"The log names no model for request {request.request_id!r}.", "choose a model version.")
        return self.model(bundle.name, bundle.version)

    def bundle_of(self, request: Request) -> Bundle | None:
        """The bundle that the log names for a request; where something else made the page, of the model that served the task then.

        Raises
        ------
        NotFoundError
            If the log names one that is not there.
        """
        name, version = request.row.get("model"), request.row.get("model_version")
        if isinstance(version, str):
            return self.bundle(name, version)
        return self._served_then(request.row) if request.row.get("status") in SERVED else None

    def preflight(self, request: Request, bundle: Bundle) -> list[Problem]:
        """What stands in the way of replaying `request` with that bundle."""
        return preflight(bundle, request.batch, self.admissions.get((bundle.name, bundle.version)))

    def _bundle_of(self, row: Any, edits: Edits) -> Bundle | str | None:
        """The bundle to score with; text when the log names one that is not there; None when it names none."""
        if edits.model_version:
            name, _, version = edits.model_version.rpartition("/")
            return self.bundle(name or None, version)
        version = row.get("model_version")
        if not isinstance(version, str):  # null
            return None
        try:
            return self.bundle(row.get("model"), version)
        except NotFoundError:
            broken = [b.problem for b in self.listed if isinstance(b, BrokenBundle) and b.folder.name == version]
            return f"model {row.get('model')} {version} is not in this workspace" + (f" ({broken[0].rstrip('.')})" if broken else "")

    def _ruleset_of(self, row: Any, edits: Edits) -> tuple[Ruleset | None, Sequence[Problem]]:
        if edits.ruleset:
            return self.ruleset(edits.ruleset), ()
        version = row.get("ruleset_version")
        if version is None or version in self.rulesets:
            return self.rulesets.get(version), ()
        why = self.broken_rulesets.get(version, f"Ruleset {version} is not in this workspace").rstrip(".")
        return None, (Problem("missing_ruleset", None, f"{why}, so positions are not replayed.", False),)
