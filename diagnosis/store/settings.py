"""`diagnosis.toml`: what a workspace says about itself. Everything but the id has a default."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from diagnosis.errors import SettingsError, WorkspaceError, near_words

FILE = "diagnosis.toml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TableSettings(_Strict):
    """Where a table lies. Without a path: its usual place, as Delta Lake."""

    format: Literal["delta", "parquet"] = "delta"
    path: str | None = None


class MetricSettings(_Strict):
    """A metric of the user's own: expressions over the columns of a request, its candidates, or those that were shown.

    Either ``value`` (its mean per request), or ``numerator`` and ``denominator``; `diagnosis.metrics.own` reads them.
    """

    value: str = ""
    numerator: str = ""
    denominator: str = ""
    level: Literal["request", "candidate", "shown"] = "request"
    unit: str = ""
    direction: Literal["up", "down", "none"] = "none"
    description: str = ""
    events: tuple[str, ...] = ()


class TaskSettings(_Strict):
    """A kind of recommendation and its phase; ``search`` says that members come to it with a query of their own."""

    phase: Literal["concept", "trial", "production"] = "production"
    description: str = ""
    search: bool = False


class SloSettings(_Strict):
    """A service level objective; `diagnosis.detect.objectives` reads it.

    ``metric`` is an indicator (``latency``, ``errors``, ``fallback``, ``throughput``, ``freshness``, ``jobs``, ``robustness``,
    ``stability``) or a metric by name. ``target`` is the share of good events where an indicator counts them, else the value to keep.
    ``threshold`` says what is good (milliseconds, requests an hour, size of the noise); ``tolerance`` how far a metric without a better
    side may lie from its target. Of several with one ``name`` (the metric, when not given), the one for the task wins over the one for its
    phase, and that over the general one. Without ``alarm`` it is only reported.
    """

    metric: str
    target: float = Field(allow_inf_nan=False)
    name: str = ""
    threshold: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    tolerance: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    task: str | None = None
    phase: Literal["concept", "trial", "production"] | None = None
    window_days: int = Field(default=28, ge=1, le=366)
    alarm: bool = True


class DetectSettings(_Strict):
    """What `diagnosis detect` looks at. Left out: whatever the log allows.

    Attributes
    ----------
    metrics : tuple of str, optional
        Metrics by name, built in or own.
    by : tuple of str, optional
        Attributes of requests to slice by; ``"task,device"`` slices by both together.
    features : tuple of str, optional
        Features whose values, gaps and breaches are watched.
    timezone : str
        Where members live: the hours of their day and the days of their week are counted there.
    false_per_month : float
        How many false incidents a month may have.
    """

    metrics: tuple[str, ...] | None = None
    by: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    timezone: str = "UTC"
    false_per_month: float = Field(default=0.5, gt=0, allow_inf_nan=False)

    @field_validator("timezone")
    @classmethod
    def _known(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{timezone!r} is no time zone; write one as Europe/Berlin") from None
        return timezone


class RetentionSettings(_Strict):
    """How long log tables are kept, in days."""

    days: int | None = Field(default=None, ge=1)


class PanelSettings(_Strict):
    """Strata that keep a member with all requests or with none (``unit = "member"`` in the sampling of the serving processes)."""

    strata: tuple[str, ...] = ()


class StateSettings(_Strict):
    """Where cases, shares and admissions are kept. ``env:NAME`` takes a database URL from the environment."""

    url: str | None = None

    @field_validator("url")
    @classmethod
    def _no_password(cls, url: str | None) -> str | None:
        if url and re.search(r"://[^/@:]+:[^/@]+@", url):
            raise ValueError("a password does not belong in this file; write url = 'env:NAME' and set NAME in the environment")
        return url


class DeliverySettings(_Strict):
    """Where incidents are told: a webhook that takes Slack's JSON, and where the workbench is reached from outside.

    ``webhook`` is ``env:NAME``, for its address is a secret; only https, or http on this machine. ``base_url`` begins every link.
    """

    webhook: str | None = None
    base_url: str = ""
    timeout_s: float = Field(default=10.0, gt=0, le=60)

    @field_validator("webhook")
    @classmethod
    def _from_environment(cls, webhook: str | None) -> str | None:
        if webhook and not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*", webhook):
            raise ValueError("an address of a webhook is a secret; write webhook = 'env:NAME' and set NAME in the environment")
        return webhook

    @field_validator("base_url")
    @classmethod
    def _a_place(cls, url: str) -> str:
        if url and not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~\-/]*)?", url):
            raise ValueError("write the address of the workbench, as https://diagnosis.example.com")
        return url.rstrip("/")


class Settings(_Strict):
    """All settings of a workspace.

    Attributes
    ----------
    id : str
        Permanent; letters, digits, ``-`` and ``_``. Links carry it.
    terms : tuple of str
        What is real, what was modelled, and under which terms the data may be used; shown on the first screen.
    attribution_time_s : float
        How long after a request an outcome still counts for it, in seconds.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    name: str = ""
    description: str = ""
    terms: tuple[str, ...] = ()
    tables: Mapping[str, TableSettings] = {}
    metrics: Mapping[str, MetricSettings] = {}
    tasks: Mapping[str, TaskSettings] = {}
    slos: tuple[SloSettings, ...] = ()
    detect: DetectSettings = DetectSettings()
    positive_events: tuple[str, ...] = ("click", "play", "purchase")
    attribution_time_s: float = Field(default=86400.0, gt=0)
    engine: Literal["duckdb"] = "duckdb"
    retention: RetentionSettings = RetentionSettings()
    state: StateSettings = StateSettings()
    delivery: DeliverySettings = DeliverySettings()
    panel: PanelSettings = PanelSettings()

    @property
    def title(self) -> str:
        """The name, or the id where there is none."""
        return self.name or self.id


def read_settings(folder: Path) -> Settings:
    """Settings of the workspace in `folder`.

    Raises
    ------
    WorkspaceError
        If there is no such folder, or it is no workspace.
    SettingsError
        If the file cannot be read, or a key is unknown or wrong; names file, key and fix.
    """
    file = folder / FILE
    if not folder.is_dir():
        raise WorkspaceError(f"There is no folder {str(folder)!r}.", "`diagnosis sample FOLDER` writes a sample workspace there.")
    if not file.is_file():
        if (folder / "logs").is_dir():
            return Settings(id=re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-") or "workspace")
        raise WorkspaceError(
            f"{str(folder)!r} is not a workspace: it has no {FILE} and no logs/.",
            'write a diagnosis.toml with a line id = "my-recommender", or run `diagnosis sample` for an example.',
        )
    try:
        return checked_settings(folder, tomllib.loads(file.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(file, "(whole file)", f"is not TOML: {error}", "check the line it names.") from None


def checked_settings(folder: Path, values: Mapping[str, Any]) -> Settings:
    """Settings from the keys of the file in `folder`.

    Raises
    ------
    SettingsError
        If a key is unknown or wrong; names file, key and fix.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise _named(folder / FILE, error) from None


def state_url(settings: Settings, folder: Path) -> str:
    """Database URL of the state: environment first, then the settings, then ``state.db`` in the workspace."""
    url = os.environ.get("DIAGNOSIS_STATE") or settings.state.url
    if url and url.startswith("env:"):
        name = url.removeprefix("env:")
        if not os.environ.get(name):
            raise SettingsError(folder / FILE, "state.url", f"the environment has no {name}", f"export {name}=postgresql+psycopg://…")
        url = os.environ[name]
    return url or f"sqlite:///{(folder / 'state.db').resolve()}"


def _named(file: Path, error: ValidationError) -> SettingsError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = near_words(str(first["loc"][-1]), _keys(first["loc"]))
        return SettingsError(file, key, "is not a setting", f"did you mean {', '.join(near)}?" if near else "remove it.")
    if first["type"] == "missing":
        return SettingsError(file, key, "is missing", f'add a line {key} = "…".')
    return SettingsError(file, key, f"{first['msg']} (found {first['input']!r})", "correct the value.")


def _keys(place: tuple[int | str, ...]) -> list[str]:
    models: dict[str, type[BaseModel]] = {
        "tables": TableSettings,
        "metrics": MetricSettings,
        "tasks": TaskSettings,
        "slos": SloSettings,
        "detect": DetectSettings,
        "retention": RetentionSettings,
        "state": StateSettings,
        "delivery": DeliverySettings,
        "panel": PanelSettings,
    }
    model: type[Any] = Settings if len(place) == 1 else models.get(str(place[0]), Settings)
    return list(model.model_fields)
