"""Sums by hour, kept between runs, so that each run reads only what is new: hours in which requests arrived, or outcomes for them.

They lie in one Parquet file in the folder ``detect`` of the workspace, written whole. A damaged one is made anew.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from diagnosis.detect.panel import OUTCOMES, OUTPUTS, SERVING, Floats, Panel, Series
from diagnosis.detect.plan import Plan, digest, plan
from diagnosis.errors import DiagnosisError
from diagnosis.localize.judge import needs_outcomes
from diagnosis.log.filters import Clause, Filter
from diagnosis.log.records import Batch
from diagnosis.metrics import Metric, per_request
from diagnosis.reproduce import Workbench
from diagnosis.store import Query
from diagnosis.store.alone import replaced
from diagnosis.store.hourly import Cells, Term
from diagnosis.store.tables import Pinned

FOLDER, FILE = "detect", "sums.parquet"
HISTORY_DAYS = 70
_AT_ONCE = 150_000  # requests
_SUMS = ("n", "x", "y", "xx", "xy", "yy")
Files = dict[str, dict[str, list[str]]]


@dataclass(frozen=True, eq=False)
class Kept:
    """Sums of every hour.

    Attributes
    ----------
    plan : Plan
    files : dict
        Files of each table that they were made from, by date.
    keys : list of (str, str)
        Name of the term and slice of each series.
    series, hour : array of int64, shape (rows,)
        Place in `keys`, and hours since 1970.
    sums : array of float, shape (rows, 6)
        See `Cells`.
    failed : dict of str to str
        Metrics that could not be computed when hours were last read, and why.
    read : int
        How many hours were read anew by the run that made this.
    """

    plan: Plan
    files: Files
    keys: list[tuple[str, str]]
    series: NDArray[np.int64]
    hour: NDArray[np.int64]
    sums: Floats
    failed: dict[str, str] = field(default_factory=dict)
    read: int = 0


def path_of(workbench: Workbench) -> Path:
    """Where the sums of a workspace lie."""
    return workbench.workspace.path / FOLDER / FILE


def load(file: Path) -> Kept | None:
    """What was kept; None where there is nothing, or nothing that can be read."""
    try:
        table = pq.read_table(file)
        told = json.loads((table.schema.metadata or {})[b"detect"])
        sums = np.stack([np.asarray(table.column(name).to_numpy(), dtype=np.float64) for name in _SUMS], axis=1)
        series, hour = (np.asarray(table.column(name).to_numpy(), dtype=np.int64) for name in ("series", "hour"))
        keys = [(str(a), str(b)) for a, b in told["keys"]]
        if len(series) and not 0 <= int(series.min()) <= int(series.max()) < len(keys):
            return None
        return Kept(Plan.from_json(told["plan"]), told["files"], keys, series, hour, sums, told["failed"])
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError):
        return None


def save(file: Path, kept: Kept) -> None:
    """Write what is kept, whole or not at all."""
    told = json.dumps({"plan": kept.plan.as_json(), "files": kept.files, "keys": kept.keys, "failed": kept.failed})
    columns = {
        "series": kept.series.astype(np.int32),
        "hour": kept.hour.astype(np.int32),
        **{n: kept.sums[:, i] for i, n in enumerate(_SUMS)},
    }
    table = pa.table(columns).replace_schema_metadata({"detect": told})
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    replaced(file, out.getvalue())


def gather(workbench: Workbench, kept: Kept | None, tell: Callable[[str, float], None] = lambda text, share: None) -> Kept:
    """The sums of every hour of the log, of which `kept` knows those that did not change.

    Raises
    ------
    TableError, ContractError
    """
    snapshot = workbench.snapshot
    if kept is not None and kept.plan.digest != digest(workbench):
        kept = None
    made = kept.plan if kept is not None else plan(workbench)
    files: Files = {name: _by_date(snapshot.pinned[name]) for name in ("requests", "candidates", "outcomes") if name in snapshot.tables()}
    window = snapshot.window()
    if window is None:
        return Kept(made, files, [], *_nothing())
    last = int(window[1].timestamp() // 3600) + 1
    first = max(int(window[0].timestamp() // 3600), last - HISTORY_DAYS * 24)
    dirty = _dirty(workbench, kept, files, first, last)
    old = kept or Kept(made, files, [], *_nothing())
    same = ~np.isin(old.hour, np.fromiter(dirty, dtype=np.int64, count=len(dirty))) & (old.hour >= first) & (old.hour < last)
    fresh, failed = _read(workbench, made, sorted(dirty), tell)
    out = _joined(replace(old, files=files, series=old.series[same], hour=old.hour[same], sums=old.sums[same]), fresh)
    return replace(out, failed=failed if dirty else old.failed, read=len(dirty))


def _nothing() -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, len(_SUMS)))


def _by_date(pinned: Pinned) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for file, day in zip(pinned.files, pinned.dates, strict=True):
        name = file
        if pinned.format == "parquet":  # somebody else's, who may write over it
            info = os.stat(file)
            name = f"{file}\t{info.st_size}\t{info.st_mtime_ns}"
        if file in pinned.deleted:  # the file stays as it is when more of its rows are deleted
            name = f"{file}\t{len(pinned.deleted[file])}"
        out.setdefault(day.isoformat() if day else "", []).append(name)
    return {day: sorted(names) for day, names in sorted(out.items())}


def _dirty(workbench: Workbench, kept: Kept | None, files: Files, first: int, last: int) -> set[int]:
    """Hours that must be read again: of new requests, of requests that new outcomes are about, of days whose files went."""
    everything = set(range(first, last))
    if kept is None:
        return everything
    found: set[int] = set()
    new: dict[str, list[str]] = {"requests": [], "outcomes": []}
    days = {day for table in (files, kept.files) for held in table.values() for day in held}
    for day in days:
        before, after = ({t: set(f.get(t, {}).get(day, ())) for t in ("requests", "candidates", "outcomes")} for f in (kept.files, files))
        if all(before[t] == after[t] for t in before):
            continue
        grew = all(before[t] <= after[t] for t in before) and (
            before["candidates"] == after["candidates"] or before["requests"] != after["requests"]
        )
        if grew:
            for table in new:
                new[table] += [name.split("\t")[0] for name in after[table] - before[table]]
        elif not day:
            return everything
        else:
            start = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() // 3600)
            found |= set(range(start, start + 24))
    return (found | workbench.snapshot.touched(new["requests"], new["outcomes"])) & everything


def _read(workbench: Workbench, made: Plan, hours: list[int], tell: Callable[[str, float], None]) -> tuple[list[Cells], dict[str, str]]:
    terms = [w.term for w in made.watched]
    out: list[Cells] = []
    failed: dict[str, str] = {}
    own = [workbench.own_metrics[name] for name in made.own if name in workbench.own_metrics]
    stretches = _stretches(workbench, hours)
    for i, (since, until) in enumerate(stretches):
        tell(f"reading {_at(since):%Y-%m-%d %H:%M}", i / len(stretches))
        query = Query(since=_at(since), until=_at(until))
        out += workbench.snapshot.hours(terms, made.groups, query=query, shallow=made.shallow)
        out += _own_cells(workbench, own, made, query, failed)
    return out, failed


def _stretches(workbench: Workbench, hours: list[int]) -> list[tuple[int, int]]:
    """Neighbouring hours together, as many as hold not too many requests."""
    if not hours:
        return []
    held = workbench.snapshot.counted(Query(since=_at(hours[0]), until=_at(hours[-1] + 1)))
    out: list[tuple[int, int]] = []
    size = 0
    for hour in hours:
        size += held.get(hour, 0)
        if out and out[-1][1] == hour and size <= _AT_ONCE:
            out[-1] = (out[-1][0], hour + 1)
        else:
            out.append((hour, hour + 1))
            size = held.get(hour, 0)
    return out


def _own_cells(workbench: Workbench, own: list[Metric], made: Plan, query: Query, failed: dict[str, str]) -> list[Cells]:
    """Sums of metrics of the workspace's own; one that fails is named, and the others go on."""
    own = [metric for metric in own if metric.name not in failed]
    if not own:
        return []
    from diagnosis.store import hourly

    settings, items = workbench.workspace.settings, workbench.snapshot.items(query.until)
    attributes = list(dict.fromkeys(name for group in made.groups for name in group))

    def of(batch: Batch) -> pa.Table:
        columns: dict[str, pa.Array] = {
            "hour": batch.requests.column("served_at").cast(pa.int64()).to_numpy() // 3_600_000_000,
            "w": batch.weights,
        }
        columns |= {f"a{i}": batch.requests.column(name).cast(pa.string()) for i, name in enumerate(attributes)}
        for i, metric in enumerate(own):
            y = x = np.zeros(len(batch))
            try:
                if metric.name not in failed:
                    parts = per_request(
                        metric, batch, items=items, positive=settings.positive_events, attribution_s=settings.attribution_time_s
                    )
                    y, x = np.nan_to_num(parts.numerator), np.nan_to_num(parts.denominator)
            except DiagnosisError as error:
                failed[metric.name] = error.message
            columns |= {f"y{i}": y, f"x{i}": x}
        return pa.table(columns)

    tables = list(workbench.snapshot.map_batches(of, query=query, batch_size=5000))
    if not tables:
        return []
    terms = [Term(metric.name, "requests") for metric in own]
    return hourly.cells(pa.concat_tables(tables), terms, attributes, made.groups, len(made.groups))


def _at(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * 3600, tz=UTC)


def where_of(by: Iterable[str], values: Iterable[str | None]) -> str:
    """A slice in the grammar of ``--where``."""
    return str(Filter(tuple(Clause(name, "=", (value,)) for name, value in zip(by, values, strict=True))))


def _joined(kept: Kept, fresh: list[Cells]) -> Kept:
    """What was kept, and what was read; where both know a series and an hour, there are two rows, which add up."""
    place = {key: i for i, key in enumerate(kept.keys)}
    series, hour, sums = [kept.series], [kept.hour], [kept.sums]
    for cells in fresh:
        wheres = [where_of(cells.by, values) for values in cells.values]
        for i, name in enumerate(cells.terms):
            held = cells.sums[:, i, 0] > 0
            codes = np.array([place.setdefault((name, where), len(place)) for where in wheres], dtype=np.int64)
            series.append(codes[held])
            hour.append(cells.hour[held])
            sums.append(cells.sums[held, i])
    return replace(kept, keys=list(place), series=np.concatenate(series), hour=np.concatenate(hour), sums=np.concatenate(sums))


def panel_of(workbench: Workbench, kept: Kept, until: datetime | None = None) -> Panel | None:
    """The series of what is kept, up to the last full hour; None where there is none.

    The first hour of a series that begins later, as that of a new task does, is the first that it has data for.
    """
    if not len(kept.hour):
        return None
    first, end = int(kept.hour.min()), _full_until(workbench) if until is None else int(until.timestamp() // 3600)
    hours = end - first
    if hours <= 0:
        return None
    known = _series(workbench, kept)
    places = np.array([known.get(key, (-1, None))[0] for key in kept.keys], dtype=np.int64)
    used = [s for _, s in sorted(known.values(), key=lambda v: v[0])]
    arrays = np.zeros((len(_SUMS), len(used), hours))
    rows = (places[kept.series] >= 0) & (kept.hour < end)
    at = (places[kept.series[rows]], kept.hour[rows] - first)
    for i in range(len(_SUMS)):
        np.add.at(arrays[i], at, kept.sums[rows, i])
    _counted(used, arrays)
    n, x, y, xx, xy, yy = arrays
    return Panel(tuple(used), first, n, x, y, xx, xy, yy, _complete(workbench, used, first, hours))


def _series(workbench: Workbench, kept: Kept) -> dict[tuple[str, str], tuple[int, Series]]:
    """Place and description of every series that the plan still has."""
    base = {w.term.name: w.series for w in kept.plan.watched}
    for name in kept.plan.own:
        metric = workbench.own_metrics.get(name)
        if metric is not None and name not in kept.failed:
            late = needs_outcomes(metric)
            symptom = OUTCOMES if late else SERVING if metric.level == "request" else OUTPUTS
            base[name] = Series(
                name, name, "", symptom, "number", metric.unit, metric.attribution_s if late else 0.0, better=metric.direction
            )
    counted = {"", *(k[1] for k in kept.keys if k[1].startswith(("task=", "environment=")) and ";" not in k[1])}
    keys = [k for k in kept.keys if k[0] in base and (base[k[0]].form != "count" or k[1] in counted)]
    return {key: (i, replace(base[key[0]], where=key[1])) for i, key in enumerate(sorted(keys))}


def _counted(series: list[Series], arrays: Floats) -> None:
    """Of counts, an hour without requests is a count of 0 from the first one on; the denominator of an hour is 1."""
    for i, one in enumerate(series):
        if one.form == "count":
            seen = np.flatnonzero(arrays[0, i])
            arrays[1, i] = 0.0
            if len(seen):
                arrays[1, i, seen[0] :] = 1.0


def _full_until(workbench: Workbench) -> int:
    """The end of the last hour that is whole: hardly a request of it is still to come."""
    window = workbench.snapshot.window()
    assert window is not None
    hour = int(window[1].timestamp() // 3600)
    held = workbench.snapshot.counted(Query(since=_at(hour - 24), until=_at(hour + 1)))
    left = (hour + 1) * 3600 - window[1].timestamp()
    now = held.get(hour, 0) / max(1 - left / 3600, 1 / 60)  # after a quiet night the day before says nothing of the hour that began
    usual = max(float(np.median([held.get(h, 0) for h in range(hour - 24, hour)])), now)
    return hour + 1 if usual * left / 3600 <= 3 else hour


def _complete(workbench: Workbench, series: list[Series], first: int, hours: int) -> NDArray[np.int64]:
    """How many hours of each series have all the outcomes that they will have."""
    _, lag = workbench.snapshot.arrived()
    window = workbench.snapshot.window()
    assert window is not None
    known = max(window[1], _at(first + hours)) - timedelta(seconds=lag)
    whole = [int((known.timestamp() - s.after_s) // 3600) - first if s.after_s else hours for s in series]
    return np.clip(np.array(whole, dtype=np.int64), 0, hours)
