"""What the series of an incident were and should have been, hour by hour, kept for whoever looks at it later."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from diagnosis.detect.incidents import Incident
from diagnosis.detect.panel import Panel, Series
from diagnosis.detect.slices import within
from diagnosis.detect.telling import words
from diagnosis.detect.watching import Watched
from diagnosis.log.filters import Clause, Filter, parse_filter
from diagnosis.store.alone import replaced

FILE = "pictures.parquet"
BEFORE, _MOST = 7 * 24, 3  # hours before the onset, and series of each incident
_COLUMNS = ["key", "series", "form", "at", "value", "expected", "low", "high"]


@dataclass(frozen=True, eq=False)
class Pictures:
    """Of a run.

    Attributes
    ----------
    rows : pandas.DataFrame
        Columns ``key`` (of the incident), ``series`` (in words), ``form`` (see `Series`), ``at`` (datetime, UTC, start of the hour),
        ``value``, ``expected``, ``low``, ``high`` (float64, in the unit of the series; NaN where nothing was logged, or nothing can be said).
    since, until : datetime or None
        Hours that the run judged; None where there was no run.
    series : int
        How many series it judged.
    """

    rows: pd.DataFrame
    since: datetime | None = None
    until: datetime | None = None
    series: int = 0

    def of(self, key: str) -> pd.DataFrame:
        """Rows of an incident, its own series first."""
        return self.rows[self.rows["key"] == key]


def pictures(watched: Watched, incidents: list[Incident], first: int) -> Pictures:
    """Pictures of incidents whose series the panel has."""
    parts = [rows for incident in incidents for rows in _of(watched, incident)]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)
    panel = watched.panel
    return Pictures(rows, panel.at(first), panel.at(panel.hours), int(watched.judged.sum()))


def save(file: Path, made: Pictures) -> None:
    """Write them, whole or not at all."""
    told = {
        "since": made.since.isoformat() if made.since else None,
        "until": made.until.isoformat() if made.until else None,
        "series": made.series,
    }
    table = pa.Table.from_pandas(made.rows, preserve_index=False).replace_schema_metadata({"detect": json.dumps(told)})
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    replaced(file, out.getvalue())


def load(file: Path) -> Pictures:
    """What was kept; nothing where there is no file, or one that cannot be read."""
    try:
        table = pq.read_table(file)
        told = json.loads((table.schema.metadata or {})[b"detect"])
        since, until = (datetime.fromisoformat(told[name]) if told[name] else None for name in ("since", "until"))
        rows = table.to_pandas()
        return Pictures(rows.astype({"at": "datetime64[us, UTC]"}), since, until, int(told["series"]))
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError):
        return Pictures(pd.DataFrame(columns=_COLUMNS))


def _of(watched: Watched, incident: Incident) -> list[pd.DataFrame]:
    known = {s.key: i for i, s in enumerate(watched.panel.series)}
    alarmed = [known[key] for key in incident.series if key in known]
    lead = next((i for i in alarmed if watched.panel.series[i].metric == incident.metric), None)
    if lead is None:
        return []
    name = watched.panel.series[lead].name
    own = within(watched.panel, name, incident.where) or [lead]
    others = {watched.panel.series[i].name: i for i in reversed(alarmed) if watched.panel.series[i].name != name}
    chosen = [own, *([i] for i in list(reversed(others.values()))[: _MOST - 1])]
    start = max(watched.panel.place(incident.since) - BEFORE, 0)
    return [_rows(watched, incident.key, places, start) for places in chosen]


def _rows(watched: Watched, key: str, places: list[int], start: int) -> pd.DataFrame:
    panel, p, hours = watched.panel, watched.parts, slice(start, None)
    series = panel.series[places[0]]
    size = panel.x[places, hours].sum(axis=0) if series.form != "count" else np.ones(panel.hours - start)
    mean, residual = p.mean[places, hours].sum(axis=0), p.residual[places, hours].sum(axis=0)
    error = np.sqrt(
        (p.chance[places, hours] + p.own[places, hours] * watched.factors[places, 0][:, None] + p.doubt[places, hours] ** 2).sum(axis=0)
    )
    known = (mean != 0) & (size > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {
            n: np.where(known, v / size, np.nan)
            for n, v in (("value", mean + residual), ("expected", mean), ("low", mean - 1.96 * error), ("high", mean + 1.96 * error))
        }
    if series.form != "number":
        values["low"] = np.maximum(values["low"], 0.0)
    if series.form == "share":
        values["high"] = np.minimum(values["high"], 1.0)
    at = pd.date_range(panel.at(start), periods=panel.hours - start, freq="h").astype("datetime64[us, UTC]")
    where = _where(panel, places)
    return pd.DataFrame({"key": key, "series": words(series) + (f" of {where}" if where else ""), "form": series.form, "at": at, **values})


def _where(panel: Panel, places: list[int]) -> str:
    one: Series = panel.series[places[0]]
    if len(places) == 1:
        return one.where
    values = [c.values[0] for i in places for c in parse_filter(panel.series[i].where).clauses]
    return str(Filter((Clause(parse_filter(one.where).clauses[0].attribute, "=", tuple(values)),)))
