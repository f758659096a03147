"""A workspace with everything that a question about it needs: one pinned snapshot, models, rulesets, contracts, state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from diagnosis.errors import DiagnosisError, NotFoundError
from diagnosis.log.records import Request
from diagnosis.models import Admission, BrokenBundle, Bundle, Model, Problem, admit, list_bundles, load, preflight
from diagnosis.reproduce.edits import NO_EDITS, Edits
from diagnosis.reproduce.replay import Replay, replay, unavailable_reason
from diagnosis.rules import Ruleset, list_rulesets
from diagnosis.store import Snapshot, State, Workspace


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
    def rulesets(self) -> dict[str, Ruleset]:
        """Every ruleset, by version."""
        return list_rulesets(self.workspace.rulesets_dir)

    def bundle(self, name: str | None, version: str) -> Bundle:
        """The bundle of that model and version; any model when `name` is None.

        Raises
        ------
        NotFoundError
        """
        for bundle in self.bundles:
            if bundle.version == version and name in (None, bundle.name):
                return bundle
        raise NotFoundError("model version", version, [b.version for b in self.bundles if name in (None, b.name)])

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
        """
        try:
            return self.rulesets[version]
        except KeyError:
            raise NotFoundError("ruleset", version, self.rulesets) from None

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
            raise NotFoundError("model", f"{name or ''} {version or ''}".strip() or "(any)", [b.name for b in self.bundles])
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

    def replay(self, request: Request | str, *, edits: Edits = NO_EDITS, tolerance: float = 0.0, noise: bool = False) -> Replay:
        """Replay a request with the model and the ruleset that the log names, or those of `edits`.

        What is missing makes it `not_replayable`, with the reason; what `edits` names must exist.

        Raises
        ------
        NotFoundError
            If there is no such request, or `edits` names a version, an item or a feature that is not there.
        """
        if isinstance(request, str):
            request = self.request(request)
        row, model, problems, unavailable = request.row, None, [], ""
        bundle = self._bundle_of(row, edits)
        if isinstance(bundle, str):
            unavailable = bundle
        elif bundle is not None:
            problems = self.preflight(request, bundle)
            if not any(p.fatal for p in problems):
                try:
                    model = self.model(bundle.name, bundle.version)
                except DiagnosisError as error:
                    unavailable = unavailable_reason(error)
        ruleset, note = self._ruleset_of(row, edits)
        return replay(
            request,
            model,
            ruleset=ruleset,
            items=self.items(request),
            edits=edits,
            tolerance=tolerance,
            noise=noise,
            problems=[*problems, *note],
            unavailable=unavailable,
        )

    def model_of(self, request: Request) -> Model:
        """The model that the log names for a request.

        Raises
        ------
        NotFoundError, NotAdmittedError, ChangedArtifactError, BundleError
        """
        name, version = request.row.get("model"), request.row.get("model_version")
        if version is None:
            raise NotFoundError("model of request", request.request_id, hint="the log names none; choose a version.")
        return self.model(name, version)

    def preflight(self, request: Request, bundle: Bundle) -> list[Problem]:
        """What stands in the way of replaying `request` with that bundle."""
        return preflight(bundle, request.batch, self.admissions.get((bundle.name, bundle.version)))

    def _bundle_of(self, row: Any, edits: Edits) -> Bundle | str | None:
        """The bundle to score with; text when the log names one that is not there; None when it names none."""
        if edits.model_version:
            name, _, version = edits.model_version.rpartition("/")
            return self.bundle(name or None, version)
        version = row.get("model_version")
        if version is None:
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
        if version is None:
            return None, ()
        if version not in self.rulesets:
            return None, (
                Problem("missing_ruleset", None, f"Ruleset {version} is not in this workspace, so positions are not replayed.", False),
            )
        return self.rulesets[version], ()
