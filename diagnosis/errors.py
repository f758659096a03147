"""Everything that this library raises on purpose.

::

    DiagnosisError
    ├── WorkspaceError          the folder, its settings
    │   ├── SettingsError
    │   └── MappingError    what a foreign log's columns mean
    ├── TableError              a table that cannot be read as it should
    │   ├── MissingTableError
    │   ├── MissingColumnError
    │   ├── ColumnTypeError
    │   ├── UnsupportedTableError
    │   └── DamagedFileError
    ├── NotFoundError           an id that is not there, with near ones
    ├── FilterError             the `--where` grammar
    ├── WindowError             two windows that cannot be compared
    ├── MetricError             a metric of the workspace's own
    ├── ModelError              what scored a request
    │   ├── BundleError
    │   ├── NotAdmittedError
    │   ├── ChangedArtifactError
    │   └── MissingFeaturesError
    ├── RulesError              how scores became a page
    ├── ContractError           feature contracts
    ├── StateError              cases, shares, admissions
    │   └── StateLockedError
    ├── HotfixError             hotfix documents, keys, signatures, playbooks
    └── CannotSayError          the question is fine, the log cannot answer it

Each carries its data as attributes, and a ``hint``: what to do instead. ``str(error)`` is for people, one paragraph, the
hint last. A bad argument is a plain `ValueError`: the caller's bug, not a diagnosis.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class DiagnosisError(Exception):
    """Base of all errors of this library.

    Attributes
    ----------
    hint : str
        What to do instead; may be empty.
    exit_code : int
        What the command line exits with: 2 for bad arguments and unknown ids, 3 where the log cannot say.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(f"{message}\nHint: {hint}" if hint else message)


class WorkspaceError(DiagnosisError):
    """A folder that is not a workspace, or cannot be opened as one."""


class SettingsError(WorkspaceError):
    """A workspace file says something that it must not.

    Attributes
    ----------
    file : Path
    key : str
        Dotted path of the setting, e.g. ``tables.requests.format``.
    """

    def __init__(self, file: Path | str, key: str, problem: str, hint: str = "") -> None:
        self.file, self.key, self.problem = Path(file), key, problem
        super().__init__(f"{self.file.name}: {key}: {problem}", hint)


class MappingError(WorkspaceError):
    """A mapping file of a foreign log is absent, wrong, or does not fit the log.

    Attributes
    ----------
    file : Path
    key : str
        Dotted path of the entry, e.g. ``requests.member``.
    """

    def __init__(self, file: Path | str, key: str, problem: str, hint: str = "") -> None:
        self.file, self.key, self.problem = Path(file), key, problem
        super().__init__(f"{self.file.name}: {key}: {problem}.", hint)


class TableError(DiagnosisError):
    """A table cannot be read as it should."""


class MissingTableError(TableError):
    """The workspace has no such table."""

    def __init__(self, table: str, hint: str = "") -> None:
        self.table = table
        super().__init__(f"This workspace has no table {table!r}.", hint)


class MissingColumnError(TableError):
    """A table lacks a column."""

    def __init__(self, table: str, column: str, available: Iterable[str] = ()) -> None:
        self.table, self.column = table, column
        near = near_words(column, available)
        super().__init__(
            f"Table {table!r} has no column {column!r}.",
            f"did you mean {', '.join(near)}?" if near else "",
        )


class ColumnTypeError(TableError):
    """A column has a type that its meaning does not allow."""

    def __init__(self, table: str, column: str, found: str, wanted: str) -> None:
        self.table, self.column, self.found, self.wanted = table, column, found, wanted
        super().__init__(
            f"Column {column!r} of table {table!r} is {found}, and must be {wanted}.",
            "a feature that changes its type gets a new column name; map it in the bundle.",
        )


class UnsupportedTableError(TableError):
    """A table uses a feature of its format that would be read wrongly."""


class DamagedFileError(TableError):
    """A file of a table cannot be decoded; it was set aside, and asking again answers from the rest."""

    def __init__(self, file: str, reason: str) -> None:
        self.file, self.reason = file, reason
        super().__init__(f"File {Path(file).name!r} cannot be read: {reason}.", "it was set aside; ask again.")


class NotFoundError(DiagnosisError):
    """An id that is not there.

    Attributes
    ----------
    kind : str
        What was looked for: ``request``, ``item``, ``model version`` …
    wanted : str
    near : tuple of str
        Ids that look like it, best first.
    """

    def __init__(self, kind: str, wanted: str, available: Iterable[str] = (), hint: str = "", *, few: bool = False) -> None:
        """Name what looks like `wanted`; where nothing does and `available` are `few`, all of them."""
        there = [str(word) for word in available]
        self.kind, self.wanted, self.near = kind, wanted, near_words(wanted, there)
        if not hint and self.near:
            hint = f"did you mean {', '.join(self.near)}?"
        elif not hint and few and there:
            hint = f"there is {', '.join(dict.fromkeys(there))}."
        super().__init__(f"There is no {kind} {wanted!r}.", hint)


class FilterError(DiagnosisError):
    """A filter expression that cannot be understood, or names an attribute that is not there."""


class WindowError(DiagnosisError):
    """A window that is none, or two that cannot be compared."""


class MetricError(DiagnosisError):
    """A metric of the workspace's own that cannot be read or computed.

    Attributes
    ----------
    file, metric : str
        Where it stands.
    key, expression : str
        Which of its expressions; empty if it is none of them.
    position : int
        Of the character where the expression goes wrong, from 1; 0 if it is none of them.
    """

    def __init__(
        self, file: str, metric: str, problem: str, hint: str = "", *, key: str = "", expression: str = "", position: int = 0
    ) -> None:
        self.file, self.metric, self.problem = file, metric, problem
        self.key, self.expression, self.position = key, expression, position
        place = f"metrics.{metric}" + (f".{key} = {expression!r}, character {position}" if key else "")
        super().__init__(f"{file}: {place}: {problem}.", hint)


class ModelError(DiagnosisError):
    """Something about a model."""


class BundleError(ModelError):
    """A model bundle is not as it should be."""


class NotAdmittedError(ModelError):
    """A model bundle that nobody admitted on this machine; it is not loaded."""

    def __init__(self, name: str, version: str) -> None:
        self.name, self.version = name, version
        super().__init__(
            f"Model {name!r} version {version!r} is not admitted here, so it is not loaded.",
            "look at where it comes from, then run `diagnosis models admit WORKSPACE`.",
        )


class ChangedArtifactError(ModelError):
    """A file of a bundle is not the one that was admitted."""

    def __init__(self, name: str, version: str, file: str) -> None:
        self.name, self.version, self.file = name, version, file
        super().__init__(
            f"File {file!r} of model {name!r} version {version!r} changed after it was admitted.",
            "restore the file, or admit the bundle again with `diagnosis models admit`.",
        )


class MissingFeaturesError(ModelError):
    """The log lacks features that the model was trained on."""

    def __init__(self, missing: Iterable[str], model: str) -> None:
        self.missing, self.model = tuple(sorted(missing)), model
        super().__init__(
            f"Model {model!r} needs features that the log does not have: {', '.join(self.missing)}.",
            "log them, or replay with a model trained without them.",
        )


class RulesError(DiagnosisError):
    """A ruleset that cannot be read or applied."""


class ContractError(DiagnosisError):
    """A feature contract that cannot be read."""


class StateError(DiagnosisError):
    """The state database (cases, shares, admissions, audit)."""


class StateLockedError(StateError):
    """Another process holds the state database."""


class HotfixError(DiagnosisError):
    """A hotfix, a key, a signature or a playbook that cannot be used."""


class CannotSayError(DiagnosisError):
    """The question is fine; the log cannot answer it (not replayable, not enough data)."""

    exit_code = 3


def near_words(wanted: str, available: Iterable[str], n: int = 3) -> tuple[str, ...]:
    """Words of `available` that look like `wanted`, best first.

    >>> near_words("hoempage", ["homepage", "related"])
    ('homepage',)
    """
    return tuple(difflib.get_close_matches(wanted, [str(word) for word in available], n=n, cutoff=0.6))
