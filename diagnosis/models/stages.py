"""The stages of a composite bundle, as its manifest tells them: a cheap first ranker, then a second; heads by task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnosis.errors import BundleError

KINDS = ("lightgbm", "sklearn", "onnx")


@dataclass(frozen=True)
class Stage:
    """One model of several that score a request, one after the other.

    Attributes
    ----------
    name : str
        What ``dropped_by`` says of candidates that it does not keep, and ``score__<name>`` of its scores.
    kind, artifact, sha256 : str
        As of a bundle.
    features : tuple of str
        Names of the bundle's features that it is given, in its order.
    keep : int
        How many of a request's candidates go on to the next stage, the best by its score; 0 = all.
    tasks : tuple of str
        Tasks whose requests it scores; empty = all. Of requests of other tasks, all candidates go on.
    """

    name: str
    kind: str
    artifact: str
    sha256: str
    features: tuple[str, ...]
    keep: int = 0
    tasks: tuple[str, ...] = ()

    def applies_to(self, task: str | None) -> bool:
        """Whether requests of that task come by."""
        return not self.tasks or task in self.tasks

    def as_toml(self) -> dict[str, Any]:
        """As the manifest holds it."""
        raw: dict[str, Any] = {"name": self.name, "kind": self.kind, "artifact": self.artifact, "sha256": self.sha256}
        raw |= {"features": list(self.features)}
        return raw | ({"keep": self.keep} if self.keep else {}) | ({"tasks": list(self.tasks)} if self.tasks else {})


def parse_stages(place: str, raw: Sequence[Any], features: Mapping[str, str], artifact: str) -> tuple[Stage, ...]:
    """The stages of a manifest.

    Parameters
    ----------
    place : str
        Of the manifest, for errors.
    features : mapping of str to str
        Names of the bundle's features, and where each comes from.
    artifact : str
        The bundle's own: that of its last stage.

    Raises
    ------
    BundleError
        If there are none, or one is wrong; names its number and the key.
    """
    if not raw:
        raise BundleError(f"{place}: a composite has no stages.", "add [[stages]], one for each model, in the order they score.")
    stages = tuple(_stage(f"{place}: stages[{number}]", entry, features) for number, entry in enumerate(raw))
    names = [s.name for s in stages]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise BundleError(f"{place}: two stages are called {twice!r}.", "dropped_by needs names that are unique.")
    if stages[-1].artifact != artifact:
        raise BundleError(f"{place}: artifact {artifact!r} is not that of the last stage.", f"write artifact = {stages[-1].artifact!r}.")
    if any(s.tasks for s in stages) and "requests.task" not in features.values():
        raise BundleError(f"{place}: stages by task need the task.", 'add a feature with from = "requests.task".')
    return stages


def _stage(where: str, entry: Any, features: Mapping[str, str]) -> Stage:
    for key in ("name", "kind", "artifact", "sha256", "features"):
        if not entry.get(key):
            raise BundleError(f"{where}: {key} is missing.", f"add {key}.")
    kind, artifact = str(entry["kind"]), str(entry["artifact"])
    if kind not in KINDS:
        raise BundleError(f"{where}: kind {kind!r} is no kind of a stage.", f"one of {', '.join(KINDS)}.")
    if Path(artifact).name != artifact or artifact.endswith((".pkl", ".pickle", ".joblib")):
        raise BundleError(f"{where}: artifact {artifact!r} must be a file name beside the manifest, and no pickle.", "move the file there.")
    wanted = tuple(str(name) for name in entry["features"])
    strange = [name for name in wanted if name not in features]
    if strange:
        raise BundleError(f"{where}: {strange[0]!r} is none of the bundle's features.", "list it among them.")
    keep = entry.get("keep", 0)
    if not isinstance(keep, int) or isinstance(keep, bool) or keep < 0:
        raise BundleError(f"{where}: keep = {keep!r} is no number of candidates.", "write a whole number, or leave it out to keep all.")
    return Stage(str(entry["name"]), kind, artifact, str(entry["sha256"]), wanted, keep, tuple(str(t) for t in entry.get("tasks", ())))


def names_of(stages: Collection[Stage]) -> frozenset[str]:
    """What ``dropped_by`` may say of candidates that a stage did not keep."""
    return frozenset(s.name for s in stages if s.keep)
