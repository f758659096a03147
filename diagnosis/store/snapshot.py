"""One pinned version of all tables, and the verbs by which everybody else asks it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from diagnosis.errors import MissingColumnError, MissingTableError, NotFoundError, TableError
from diagnosis.log.records import Batch, Request, to_frame
from diagnosis.store import hourly, itemdays, leaves, slices, sql
from diagnosis.store.hourly import Cells, Term
from diagnosis.store.leaves import Leaves
from diagnosis.store.query import WEIGHT, Count, Measure, Query, measured, terms
from diagnosis.store.scan import Scan, scanned
from diagnosis.store.tables import LOG_TABLES, SMALL_TABLES, Pinned, damaged
from diagnosis.store.workspace import Workspace

T = TypeVar("T")
_STRETCHES = 2000  # up to which rows are put in order without copying them
_OUTCOMES = pa.schema(
    [
        ("request_id", pa.string()),
        ("date", pa.date32()),
        ("item_id", pa.string()),
        ("event", pa.string()),
        ("happened_at", pa.timestamp("us", "UTC")),
        ("logged_at", pa.timestamp("us", "UTC")),
        ("value", pa.float64()),
    ]
)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One version of every table. Two snapshots with the same `key` answer alike.

    Attributes
    ----------
    pinned : mapping of str to Pinned
        The tables that the workspace has.
    """

    workspace: Workspace
    pinned: Mapping[str, Pinned]
    _bad: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Identifies the workspace and the version of every table."""
        text = self.workspace.id + "".join(f"\0{name}={p.version}" for name, p in sorted(self.pinned.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def versions(self) -> dict[str, str]:
        """Version of each table."""
        return {name: pinned.version for name, pinned in self.pinned.items()}

    def tables(self) -> tuple[str, ...]:
        """Names of the tables that there are."""
        return tuple(self.pinned)

    def columns(self, table: str) -> dict[str, str]:
        """Columns of a table with their types, as text."""
        return {f.name: str(f.type) for f in self._pin(table).schema}

    def attributes(self) -> tuple[str, ...]:
        """Request attributes that one can filter by."""
        return tuple(f.name for f in self._pin("requests").schema if not pa.types.is_nested(f.type) or pa.types.is_map(f.type))

    def health(self) -> pd.DataFrame:
        """What each table holds and what is wrong with it.

        Returns
        -------
        pandas.DataFrame
            One row a table of FORMATS.md, index ``table``. Columns ``present`` (bool), ``format``, ``version``, ``files``, ``rows``
            (Int64; null = not known), ``first_on``, ``last_on`` (date or None), ``problem`` (text; empty when fine).
        """
        rows: list[tuple[Any, ...]] = []
        for name in (*LOG_TABLES, *SMALL_TABLES):
            pinned = self.pinned.get(name)
            if pinned is None:
                rows.append((name, False, "", "", 0, None, None, None, "absent"))
                continue
            aside = [*pinned.set_aside, *((f, why) for f, why in self._bad.items() if f in pinned.files)]
            problem = "; ".join(f"set aside {file.rsplit('/', 1)[-1]}: {why}" for file, why in aside[:3])
            if len(aside) > 3:
                problem += f"; and {len(aside) - 3} more files"
            days = [day for day in pinned.dates if day is not None]
            rows.append(
                (
                    name,
                    True,
                    pinned.format,
                    pinned.version,
                    len(pinned.files),
                    pinned.rows,
                    min(days, default=None),
                    max(days, default=None),
                    problem,
                )
            )
        names = ["table", "present", "format", "version", "files", "rows", "first_on", "last_on", "problem"]
        return pd.DataFrame(rows, columns=names).astype({"rows": "Int64", "files": "int64"}).set_index("table")

    def repeated(self, *, limit: int = 5) -> dict[str, int]:
        """Request ids that stand more than once in the log, with how often; the most frequent `limit`. Reads every id."""
        bound = sql.Bound()
        table = self._ask(
            lambda: (
                f"SELECT request_id, count(*) AS n FROM {self._from('requests', bound)} GROUP BY request_id HAVING n > 1 "
                f"ORDER BY n DESC, request_id LIMIT {int(limit)}"
            ),
            bound,
        )
        return dict(zip(table.column("request_id").to_pylist(), table.column("n").to_pylist(), strict=True))

    def window(self) -> tuple[datetime, datetime] | None:
        """First and last ``served_at`` in the log; None when it is empty."""
        bound = sql.Bound()
        days = [day for day in self._pin("requests").dates if day is not None]
        edges = {min(days), max(days)} if days else None
        table = self._ask(lambda: f"SELECT min(served_at) a, max(served_at) b FROM {self._from('requests', bound, dates=edges)}", bound)
        first, last = table.column("a")[0].as_py(), table.column("b")[0].as_py()
        return None if first is None else (first, last)

    # --- requests by id -------------------------------------------------------------------------------------------------

    def request(self, request_id: str, *, date: date | None = None) -> Request:
        """The request of that id; `date` (UTC, of served_at) makes it faster.

        Raises
        ------
        NotFoundError
            With ids that look like it.
        """
        batch = self._fetch([request_id], [date] if date else None)
        if not len(batch):
            raise NotFoundError("request", request_id, self._near(request_id))
        return batch.one(request_id)

    def fetch(self, request_ids: Sequence[str]) -> Batch:
        """Requests with candidates and outcomes, in the order asked; ids that are not there are left out."""
        return self._fetch(list(dict.fromkeys(request_ids)), None)

    def known(self, request_ids: Sequence[str], dates: Sequence[date]) -> list[str]:
        """Which of the ids are logged under these dates, sorted."""
        bound = sql.Bound()
        table = self._ask(
            lambda: (
                f"SELECT DISTINCT request_id FROM {self._from('requests', bound, dates=dates)} "
                f"WHERE request_id IN {self._list(list(request_ids), bound)} ORDER BY request_id"
            ),
            bound,
        )
        return list(table.column(0).to_pylist())

    def dates_of(self, request_ids: Sequence[str]) -> dict[str, date]:
        """The date (UTC, of served_at) of each of the ids that is logged."""
        bound = sql.Bound()
        table = self._ask(
            lambda: (
                f"SELECT request_id, min(served_at::DATE) AS day FROM {self._from('requests', bound)} "
                f"WHERE request_id IN {self._list(list(request_ids), bound)} GROUP BY request_id ORDER BY request_id"
            ),
            bound,
        )
        return dict(zip(table.column("request_id").to_pylist(), table.column("day").to_pylist(), strict=True))

    def _fetch(self, ids: list[str], dates: list[date] | None) -> Batch:
        bound = sql.Bound()
        requests = self._ask(
            lambda: f"SELECT * FROM {self._from('requests', bound, dates=dates)} WHERE request_id IN {self._list(ids, bound)}",
            bound,
        )
        return self._complete(_ordered(requests, ids))

    def _complete(self, requests: pa.Table) -> Batch:
        """`requests` with their candidates and outcomes."""
        requests = _first_of_each(requests)
        ids = requests.column("request_id").to_pylist()
        days = sorted(set(requests.column("date").to_pylist())) if "date" in requests.column_names else None
        parts = {}
        for name in ("candidates", "outcomes"):
            if name not in self.pinned:
                schema = _OUTCOMES if name == "outcomes" else pa.schema([("request_id", pa.string()), ("item_id", pa.string())])
                parts[name] = schema.empty_table()
                continue
            parts[name] = self._rows_of(name, ids, days)
        return Batch(requests, parts["candidates"], parts["outcomes"])

    def _rows_of(self, table: str, ids: list[str], days: list[date] | None) -> pa.Table:
        """Rows of these requests in the order of `ids`; those of one request in the order of their file, which a query does not keep."""
        bound, numbered = sql.Bound(), sql.ROW_NUMBER not in self._pin(table).schema.names
        found = self._ask(
            lambda: f"SELECT * FROM {self._from(table, bound, dates=days, numbered=numbered)} WHERE request_id IN {self._list(ids, bound)}",
            bound,
        )
        if not numbered:
            return _ordered(found, ids)
        return _ordered(found.drop_columns([sql.ROW_NUMBER]), ids, found.column(sql.ROW_NUMBER).to_numpy())

    def _near(self, request_id: str) -> list[str]:
        """Ids that look like it, of the last few days of the log."""
        bound = sql.Bound()
        days = sorted({day for day in self._pin("requests").dates if day is not None})[-3:]
        table = self._ask(
            lambda: (
                f"SELECT request_id FROM {self._from('requests', bound, dates=days or None)} "
                f"ORDER BY jaro_winkler_similarity(request_id, {bound.bind(request_id)}) DESC, request_id LIMIT 20"
            ),
            bound,
        )
        return list(table.column(0).to_pylist())

    # --- many requests --------------------------------------------------------------------------------------------------

    def find(self, query: Query) -> pd.DataFrame:
        """Requests that hold, a page of them.

        Returns
        -------
        pandas.DataFrame
            One row a request, index ``request_id``; columns of `requests`, and ``weight`` (float64, requests of the full traffic
            that it stands for; a logged column of that name is called ``requests.weight`` here). Ordered by ``served_at``, then id.

        Raises
        ------
        FilterError
            If an attribute is not there or a value does not fit.
        """
        bound = sql.Bound()
        way = "DESC" if query.newest_first else "ASC"
        taken = "weight" in self._pin("requests").schema.names
        logged = '* RENAME (weight AS "requests.weight")' if taken else "*"
        table = self._ask(
            lambda: (
                f"SELECT {logged}, {WEIGHT} AS weight FROM {self._selected(query, bound)} "
                f"ORDER BY served_at {way}, request_id LIMIT {int(query.limit)} OFFSET {int(query.offset)}"
            ),
            bound,
        )
        return to_frame(table).set_index("request_id")

    def count(self, query: Query) -> Count:
        """How many requests hold: logged, and estimated in the full traffic."""
        bound = sql.Bound()
        table = self._ask(
            lambda: f"SELECT count(*) n, coalesce(sum(1.0 / keep_probability), 0) w FROM {self._selected(query, bound)}", bound
        )
        return Count(int(table.column("n")[0].as_py()), float(table.column("w")[0].as_py()))

    def aggregate(
        self,
        *,
        by: Sequence[str] = (),
        measures: Mapping[str, Measure] | None = None,
        query: Query | None = None,
        bucket: timedelta | None = None,
    ) -> pd.DataFrame:
        """Weighted aggregates of requests by attributes, and by time when `bucket` is given.

        Returns
        -------
        pandas.DataFrame
            Columns ``at`` (start of the bucket, with `bucket`), the attributes, ``requests`` (int64, logged), ``weight`` (float64,
            estimated requests), and each measure (float64; NaN where nothing was measured). Ordered by them.
        """
        bound, query, schema = sql.Bound(), query or Query(), self._pin("requests").schema
        names = [*(["at"] if bucket else []), *by, "requests", "weight", *(measures or {})]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two columns of the answer would be called {', '.join(twice)}")

        def text() -> str:
            keys = [f"time_bucket({bound.bind(bucket)}, served_at) AS at"] if bucket else []
            keys += [f"{sql.attribute(name, schema, bound)[0]} AS {sql.quote(name)}" for name in by]
            values = ["count(*) AS requests", f"sum({WEIGHT}) AS weight"]
            values += [f"{measured(m, schema, bound)} AS {sql.quote(name)}" for name, m in (measures or {}).items()]
            source = self._selected(query, bound)
            tail = " GROUP BY ALL ORDER BY ALL" if keys else ""
            return f"SELECT {', '.join([*keys, *values])} FROM {source}{tail}"

        return to_frame(self._ask(text, bound))

    def leaves(self, by: Sequence[str], measure: Measure, *, baseline: Query, incident: Query, most_values: int = 300) -> Leaves:
        """Sums of a measure, and of its squares, over every combination of request attributes in two windows.

        Requests without a value (null, NaN, infinite) are left out, and counted in `Leaves.notes`. An attribute with far more than
        `most_values` values keeps its most frequent ones.

        Raises
        ------
        FilterError
            If an attribute is not there.
        ValueError
            If `measure` is a ``sum``, which is no ratio.
        """
        schema, none = self._pin("requests").schema, sql.Bound()
        for name in by:
            kind = sql.attribute(name, schema, none)[1]
            if pa.types.is_nested(kind):
                raise ValueError(f"{name!r} is {kind}; name one of its keys")

        def source(bound: sql.Bound) -> str:
            return f"(SELECT *, false AS late FROM {self._selected(baseline, bound)} UNION ALL SELECT *, true FROM {self._selected(incident, bound)})"

        kept, folded = self._frequent(by, source, schema, most_values)
        placed = self._placed([name for name in by if name not in kept], source, schema)
        bound = sql.Bound()
        table = self._ask(lambda: leaves.leaves_query(by, terms(measure, schema, bound), source(bound), schema, bound, kept, placed), bound)
        missing = int(pc.sum(table.column("rows")).as_py() or 0) - int(pc.sum(table.column("n")).as_py() or 0)
        notes = [f"{missing:,} requests have no value of {measure.column} and are left out."] if missing else []
        notes += [
            f"{name} has about {n + len(kept[name]):,} values: the {len(kept[name]):,} most frequent are looked at, the others count as one."
            for name, n in folded.items()
        ]
        return Leaves(tuple(by), table, placed, folded, tuple(notes))

    def _frequent(
        self, by: Sequence[str], source: Callable[[sql.Bound], str], schema: pa.Schema, most: int
    ) -> tuple[dict[str, pa.Array], dict[str, int]]:
        """The values to keep of each attribute that has too many, and how many others it has."""
        kept: dict[str, pa.Array] = {}
        folded: dict[str, int] = {}
        if not by:
            return kept, folded
        bound = sql.Bound()
        first = self._ask(lambda: leaves.counts_query(by, source(bound), schema, bound), bound)
        for i, name in enumerate(by):
            if first.column(f"c{i}")[0].as_py() <= most:
                continue
            found = self._most_frequent(name, source, schema, most)
            if not found.num_rows or found.column("n")[0].as_py() <= most:
                continue
            kept[name] = found.column("v").combine_chunks()
            folded[name] = int(found.column("n")[0].as_py()) - found.num_rows
        return kept, folded

    def _placed(self, by: Sequence[str], source: Callable[[sql.Bound], str], schema: pa.Schema) -> dict[str, tuple[str, ...]]:
        """The values of text attributes that have few."""
        texts = [name for name in by if pa.types.is_string(sql.attribute(name, schema, sql.Bound())[1])]
        if not texts:
            return {}
        bound = sql.Bound()
        found = self._ask(lambda: leaves.values_query(texts, source(bound), schema, bound), bound)
        values = {name: found.column(f"v{i}")[0].as_py() or [] for i, name in enumerate(texts)}
        known = {name: tuple(sorted(v for v in held if v is not None)) for name, held in values.items()}
        return {name: held for name, held in known.items() if len(held) <= leaves.PLACED}

    def _most_frequent(self, name: str, source: Callable[[sql.Bound], str], schema: pa.Schema, most: int) -> pa.Table:
        bound = sql.Bound()
        return self._ask(lambda: leaves.frequent_query(name, source(bound), schema, bound, most - 1), bound)

    def slices(self, by: Sequence[str], *, depth: int = 2, query: Query | None = None) -> pd.DataFrame:
        """What is logged of every slice of one and (with `depth` 2) two attributes, and of everything; one scan.

        Returns
        -------
        pandas.DataFrame
            Columns ``attribute``, ``value``, ``attribute_2``, ``value_2`` (values as text, None for null; attributes empty where the slice
            has fewer), ``requests`` (int64, logged), ``weight`` and ``squares`` (float64: sums of 1 / keep_probability and of its square).

        Raises
        ------
        FilterError
            If an attribute is not there.
        ValueError
            If there are none, more than twenty, or one has no single value.
        """
        schema, bound, query = self._pin("requests").schema, sql.Bound(), query or Query()
        if not 1 <= len(set(by)) == len(by) <= 20:
            raise ValueError("name 1 to 20 different attributes")
        for name in by:
            if pa.types.is_nested(sql.attribute(name, schema, sql.Bound())[1]):
                raise ValueError(f"{name!r} has no single value; name one of its keys")
        table = self._ask(lambda: slices.query(by, depth, self._selected(query, bound), schema, bound), bound)
        return slices.frame(table, by)

    def few_valued(self, *, most: int = 30, query: Query | None = None) -> dict[str, int]:
        """Text and yes-no attributes of requests with 2 to `most` values, about, by how many they have."""
        schema, bound, query = self._pin("requests").schema, sql.Bound(), query or Query()
        names = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_boolean(f.type)]
        names = [name for name in names if name not in ("request_id", "member", "source_request_id")]
        table = self._ask(lambda: leaves.counts_query(names, self._selected(query, bound), schema, bound), bound)
        found = {name: int(table.column(f"c{i}")[0].as_py()) for i, name in enumerate(names)}
        return {name: count for name, count in sorted(found.items()) if 2 <= count <= most}

    def histogram(self, table: str, column: str, *, bins: int = 30, query: Query | None = None) -> pd.DataFrame:
        """Weighted histogram of a numeric column of `requests` or `candidates`.

        Returns
        -------
        pandas.DataFrame
            Columns ``low``, ``high`` (float64, bin edges; NaN for the row of what is no number), ``rows`` (int64), ``weight`` (float64).
        """
        if table not in ("requests", "candidates"):
            raise ValueError(f"no histogram of {table!r}")
        bound, query = sql.Bound(), query or Query()
        kind = sql.attribute(column, self._pin(table).schema, bound)[1]
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise ValueError(f"{column!r} is {kind}, not a number")

        def text() -> str:
            name = sql.quote(column)
            selected = self._selected(query, bound)
            source = (
                selected
                if table == "requests"
                else (
                    f"(SELECT c.*, r.keep_probability FROM {self._from('candidates', bound, query=query)} c JOIN {selected} r USING (request_id))"
                )
            )
            value = f"CASE WHEN isfinite({name}::DOUBLE) THEN {name}::DOUBLE END"
            return (
                f"WITH v AS (SELECT {value} AS x, 1.0 / keep_probability AS w FROM {source}), "
                "e AS (SELECT min(x) lo, max(x) hi FROM v) "
                f"SELECT lo, hi, CASE WHEN x IS NULL THEN -1 WHEN hi = lo THEN 0 ELSE least({int(bins) - 1}, "
                f"floor((x - lo) / (hi - lo) * {int(bins)})::INT) END AS bin, count(*) AS rows, sum(w) AS weight "
                "FROM v, e GROUP BY ALL ORDER BY bin"
            )

        found = to_frame(self._ask(text, bound))
        number = found["bin"] >= 0
        width = (found["hi"] - found["lo"]) / bins
        low = (found["lo"] + found["bin"] * width).where(number)
        return pd.DataFrame({"low": low, "high": (low + width).where(number), "rows": found["rows"], "weight": found["weight"]})

    def sample(self, n: int, *, query: Query | None = None, seed: int = 0, thinned: bool = False) -> Batch:
        """At most `n` requests that hold, chosen by a hash of their id: the same call gives the same requests.

        With `thinned`, most of a large log is passed over by a quicker hash first; other versions of the engine may choose other requests.
        """
        bound, query = sql.Bound(), query or Query()
        one_of = max(1, self.count(query).kept // (2 * max(n, 1))) if thinned else 1
        kept = f"WHERE hash(request_id) % {one_of} = 0" if one_of > 1 else ""
        requests = self._ask(
            lambda: (
                f"SELECT * FROM {self._selected(query, bound)} {kept} "
                f"ORDER BY md5(request_id || {bound.bind(str(seed))}), request_id LIMIT {int(n)}"
            ),
            bound,
        )
        order = [(name, "ascending") for name in ("date", "request_id") if name in requests.column_names]
        return self._complete(requests.sort_by(order))  # as the files are

    def map_batches(self, function: Callable[[Batch], T], *, query: Query | None = None, batch_size: int = 1000) -> Iterator[T]:
        """`function` of every request that holds, `batch_size` at a time, in the order of their ids within a day."""
        query = replace(query or Query(), limit=2**31, offset=0)
        bound = sql.Bound()
        requests = self._ask(lambda: f"SELECT * FROM {self._selected(query, bound)} ORDER BY served_at::DATE, request_id", bound)
        for start in range(0, requests.num_rows, batch_size):
            yield function(self._complete(requests.slice(start, batch_size)))

    def scan(self, query: Query, *, attributes: Sequence[str] = ()) -> Scan:
        """Columns of the candidates of every request that holds, as they stand in the files; for counting at scale.

        Parameters
        ----------
        attributes : sequence of str
            Columns of `requests` to have besides ``request_id`` and ``keep_probability``.

        Raises
        ------
        MissingTableError
        """
        bound, pinned = sql.Bound(), self._pin("candidates")
        columns = ", ".join(sql.quote(name) for name in dict.fromkeys(("request_id", "keep_probability", *attributes)))
        requests = self._ask(lambda: f"SELECT {columns} FROM {self._selected(query, bound)} ORDER BY request_id", bound)
        days = (_utc_date(query.since) if query.since else None, _utc_date(query.until) if query.until else None)
        files = [file for file in pinned.on(None, *days) if file not in self._bad]
        return scanned(_first_of_each(requests), pinned, files, self._bad)

    def hours(
        self, terms: Sequence[Term], groups: Sequence[tuple[str, ...]], *, query: Query | None = None, shallow: int = 1
    ) -> list[Cells]:
        """Sums of each term by hour (UTC) and by the values of each group of attributes; one entry a group.

        Parameters
        ----------
        shallow : int
            Terms that are not `deep` are summed in the first so many groups only.

        Raises
        ------
        MissingColumnError, FilterError
            If a term or a group is about a column that there is not.
        """
        bound, query = sql.Bound(), query or Query()
        attributes = list(dict.fromkeys(name for group in groups for name in group))
        positive = self.workspace.settings.positive_events
        table = self._ask(lambda: hourly.query(terms, attributes, self._sources(query, bound), positive, bound), bound)
        return hourly.cells(table, terms, attributes, groups, shallow)

    def counted(self, query: Query | None = None) -> dict[int, int]:
        """How many requests are logged in each hour (since 1970, UTC) that has any."""
        bound, query = sql.Bound(), query or Query()
        text = "SELECT floor(epoch(served_at) / 3600)::BIGINT AS h, count(*) AS n FROM {} GROUP BY h ORDER BY h"
        table = self._ask(lambda: text.format(self._selected(query, bound)), bound)
        return dict(zip(table.column("h").to_pylist(), table.column("n").to_pylist(), strict=True))

    def touched(self, requests: Sequence[str], outcomes: Sequence[str]) -> set[int]:
        """Hours (since 1970, UTC) of the requests in some files of `requests`, and of those that some files of `outcomes` are about."""
        return self._hours_of("requests", requests) | self._hours_of("outcomes", outcomes)

    def _hours_of(self, name: str, files: Sequence[str]) -> set[int]:
        if not files:
            return set()
        bound, pinned = sql.Bound(), self._pin(name)
        days = {day for file, day in zip(pinned.files, pinned.dates, strict=True) if file in set(files)}

        def text() -> str:
            there = [f for f in files if f not in self._bad]
            new = sql.relation(pinned.schema, there, bound, any(pinned.dates), pinned.converted, deleted=pinned.deleted)
            dates = None if None in days else {day for day in days if day}
            hour = "SELECT DISTINCT floor(epoch(served_at) / 3600)::BIGINT AS h FROM"
            if name == "requests":
                return f"{hour} {new}"
            return f"{hour} {self._from('requests', bound, dates=dates)} WHERE request_id IN (SELECT request_id FROM {new})"

        return set(self._ask(text, bound).column("h").to_pylist())

    def arrived(self) -> tuple[datetime | None, float]:
        """When the latest outcome arrived, and after how many seconds those of the last days arrive, all but one in a hundred."""
        if "outcomes" not in self.pinned:
            return None, 0.0
        bound, pinned = sql.Bound(), self._pin("outcomes")
        timed = {"happened_at", "logged_at"} & set(pinned.schema.names)
        if "happened_at" not in timed:
            return None, 0.0
        at = "coalesce(logged_at, happened_at)" if "logged_at" in timed else "happened_at"
        days = sorted({day for day in pinned.dates if day is not None})[-3:]
        table = self._ask(
            lambda: (
                f"SELECT max({at}) AS last, approx_quantile(epoch({at}) - epoch(happened_at), 0.99) AS lag "
                f"FROM {self._from('outcomes', bound, dates=days or None)}"
            ),
            bound,
        )
        return table.column("last")[0].as_py(), max(float(table.column("lag")[0].as_py() or 0.0), 0.0)

    def _sources(self, query: Query, bound: sql.Bound) -> hourly.Sources:
        schemas = {name: pinned.schema for name, pinned in self.pinned.items()}

        def items() -> str:
            order = " ORDER BY valid_from DESC NULLS LAST" if "valid_from" in schemas["items"].names else ""
            return f"(SELECT * FROM {self._from('items', bound)} QUALIFY row_number() OVER (PARTITION BY item_id{order}) = 1)"

        def logged(name: str) -> Callable[[], str]:
            return lambda: self._from(name, bound, query=query)

        return hourly.Sources(lambda: self._selected(query, bound), logged("candidates"), logged("outcomes"), items, schemas)

    def item_days(
        self, origins: Mapping[str, datetime], *, query: Query | None = None, positive: Sequence[str] = (), attribution_s: float = 86400.0
    ) -> pd.DataFrame:
        """What became of items, day by day from an origin of their own (their launch); one scan.

        Parameters
        ----------
        positive : sequence of str
            Events that count as success within `attribution_s` seconds.

        Returns
        -------
        pandas.DataFrame
            One row an item, day (int64, 0 = the 24 hours from its origin; negative before) and task in which it was a candidate. Columns
            ``proposed``, ``scored``, ``ranked`` (among the places of the page; NaN where ranks or slots are not logged), ``shown``,
            ``positive`` (float64, estimated requests), ``places`` (float64, sum of its positions) and
            ``rows_shown`` (int64, logged).

        Raises
        ------
        MissingTableError, MissingColumnError
        """
        bound, query, held = sql.Bound(), query or Query(), self._pin("candidates").schema.names
        if "position" not in held:
            raise MissingColumnError("candidates", "position", held)

        def text() -> str:
            listed = self._watched(origins, bound)
            outcomes = self._from("outcomes", bound, query=query) if positive and "outcomes" in self.pinned else ""
            events = bound.bind(list(positive)) if outcomes else ""
            parts = (self._selected(query, bound), self._from("candidates", bound, query=query), outcomes, held)
            return itemdays.days_query(*parts, listed, events, float(attribution_s), slots="slots" in self._pin("requests").schema.names)

        return to_frame(self._ask(text, bound))

    def item_days_by(self, column: str, origins: Mapping[str, datetime], *, query: Query | None = None) -> pd.DataFrame:
        """Estimated requests in which items were candidates, by day from their origin, task and the values of a column of `candidates`.

        Returns
        -------
        pandas.DataFrame
            Columns ``item_id``, ``day``, ``task``, ``value`` (text; of a list each of its values) and ``weight``; nulls left out. No rows
            where there is no such column.
        """
        bound, query, schema = sql.Bound(), query or Query(), self._pin("candidates").schema
        if column not in schema.names:
            return pd.DataFrame({"item_id": [], "day": [], "task": [], "value": [], "weight": []})
        nested = pa.types.is_list(schema.field(column).type)

        def text() -> str:
            listed, requests = self._watched(origins, bound), self._selected(query, bound)
            return itemdays.split_query(requests, self._from("candidates", bound, query=query), listed, column, nested=nested)

        return to_frame(self._ask(text, bound))

    def page_hours(self, first: datetime, *, query: Query | None = None) -> pd.DataFrame:
        """Estimated requests and shown positions of every hour from `first`, by task: columns ``hour`` (int64), ``task``, ``requests``,
        ``shown`` (float64), ``rows`` (int64, logged requests)."""
        bound, query = sql.Bound(), query or Query()

        def text() -> str:
            requests, candidates = self._selected(query, bound), self._from("candidates", bound, query=query)
            return itemdays.hours_query(requests, candidates, bound.bind(first.timestamp()) + "::DOUBLE")

        return to_frame(self._ask(text, bound))

    def _watched(self, origins: Mapping[str, datetime], bound: sql.Bound) -> str:
        return itemdays.watched(bound.bind(list(origins)), bound.bind([at.timestamp() for at in origins.values()]))

    # --- the other tables -----------------------------------------------------------------------------------------------

    def items(self, at: datetime | None = None, item_ids: Sequence[str] | None = None) -> pd.DataFrame:
        """Items as they were at a time: index ``item_id``, columns of `items`; no rows when the workspace has no such table."""
        if "items" not in self.pinned:
            return pd.DataFrame(index=pd.Index([], name="item_id"))
        bound = sql.Bound()

        def text() -> str:
            conditions = []
            if item_ids is not None:
                conditions.append(f"item_id IN {self._list(list(item_ids), bound)}")
            versioned = "valid_from" in self._pin("items").schema.names
            if versioned and at is not None:
                conditions.append(f"(valid_from IS NULL OR valid_from <= {bound.bind(at)})")
            latest = "QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY valid_from DESC NULLS LAST) = 1" if versioned else ""
            return f"SELECT * FROM {self._from('items', bound)} WHERE {' AND '.join(conditions) or 'true'} {latest} ORDER BY item_id"

        return to_frame(self._ask(text, bound)).drop_duplicates("item_id").set_index("item_id")

    def changes(self, since: datetime | None = None, until: datetime | None = None) -> pd.DataFrame:
        """Changes in ``since <= changed_at < until``, oldest first; no rows when the workspace has no such table."""
        if "changes" not in self.pinned:
            return pd.DataFrame(columns=["changed_at", "kind", "target", "before", "after", "note", "link"])
        bound = sql.Bound()

        def text() -> str:
            conditions = [f"changed_at >= {bound.bind(since)}"] if since else []
            conditions += [f"changed_at < {bound.bind(until)}"] if until else []
            return f"SELECT * FROM {self._from('changes', bound)} WHERE {' AND '.join(conditions) or 'true'} ORDER BY changed_at"

        return to_frame(self._ask(text, bound))

    def table(self, name: str) -> pd.DataFrame:
        """A small table, whole.

        Raises
        ------
        MissingTableError
        """
        if name not in (*SMALL_TABLES, "volumes"):
            raise ValueError(f"{name!r} is no small table")
        bound = sql.Bound()
        return to_frame(self._ask(lambda: f"SELECT * FROM {self._from(name, bound)}", bound))

    def distinct(self, table: str, column: str, *, limit: int = 200) -> list[Any]:
        """Values of a column, most frequent first; null left out."""
        bound = sql.Bound()

        def text() -> str:
            name, _ = sql.attribute(column, self._pin(table).schema, bound)
            source = self._from(table, bound)
            return f"SELECT {name} AS v, count(*) n FROM {source} WHERE {name} IS NOT NULL GROUP BY v ORDER BY n DESC, v LIMIT {int(limit)}"

        return list(self._ask(text, bound).column("v").to_pylist())

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _pin(self, table: str) -> Pinned:
        try:
            return self.pinned[table]
        except KeyError:
            raise MissingTableError(table, "`diagnosis check` lists what a workspace holds, FORMATS.md the columns.") from None

    def _from(
        self,
        table: str,
        bound: sql.Bound,
        *,
        dates: Sequence[date] | set[date] | None = None,
        query: Query | None = None,
        numbered: bool = False,
    ) -> str:
        pinned = self._pin(table)
        since = _utc_date(query.since) if query and query.since else None
        until = _utc_date(query.until) if query and query.until else None
        files = [file for file in pinned.on(dates, since, until) if file not in self._bad]
        return sql.relation(pinned.schema, files, bound, any(pinned.dates), pinned.converted, numbered=numbered, deleted=pinned.deleted)

    def _selected(self, query: Query, bound: sql.Bound) -> str:
        """Table expression of the requests that `query` names."""
        schema = self._pin("requests").schema
        conditions = [sql.where(query.where, schema, bound)] if query.where else []
        for column in ("request_id", "member", "task", "status", "model", "model_version"):
            value = getattr(query, column)
            if value is not None:
                conditions.append(f"{sql.attribute(column, schema, bound)[0]} = {bound.bind(value)}")
        if query.since:
            conditions.append(f"served_at >= {bound.bind(query.since)}")
        if query.until:
            conditions.append(f"served_at < {bound.bind(query.until)}")
        if query.item is not None:
            shown = self._from("candidates", bound, query=query)
            conditions.append(f"request_id IN (SELECT request_id FROM {shown} WHERE item_id = {bound.bind(query.item)})")
        return f"(SELECT * FROM {self._from('requests', bound, query=query)} WHERE {' AND '.join(conditions) or 'true'})"

    @staticmethod
    def _list(values: list[str], bound: sql.Bound) -> str:
        if len(values) <= 50:
            return "(" + ", ".join(bound.bind(v) for v in values) + ")" if values else "(SELECT NULL WHERE false)"
        return f"(SELECT unnest({bound.bind(values)}::VARCHAR[]))"

    def _ask(self, text: Callable[[], str], bound: sql.Bound) -> pa.Table:
        """Run a query; when a damaged file fails it, set that file aside and answer from the rest."""
        import duckdb

        for attempt in (1, 2):
            bound.values.clear()
            query = text()
            cursor = self.workspace.connection.cursor()
            try:
                return pa.table(cursor.sql(query, params=bound.values or None).to_arrow_table())
            except (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException):
                raise  # our own SQL
            except duckdb.Error as error:
                read = [f for value in bound.values.values() if isinstance(value, list) for f in value]
                known = {f for p in self.pinned.values() for f in p.files}
                found = damaged(f for f in read if f in known) if attempt == 1 else []
                if not found:
                    raise TableError(f"The log cannot be read: {str(error).splitlines()[0]}") from None
                self._bad.update(found)
            finally:
                cursor.close()
        raise AssertionError("unreachable")


def _utc_date(time: datetime) -> date:
    """The UTC date of a time; one without a zone is UTC."""
    return time.astimezone(UTC).date() if time.tzinfo else time.date()


def _ordered(table: pa.Table, ids: list[str], within: np.ndarray | None = None) -> pa.Table:
    """Rows in the order of `ids`; rows of one id in the order of `within`, or as they are."""
    places = pc.index_in(table.column("request_id"), value_set=pa.array(ids, pa.string())).to_numpy().astype(np.int64)
    if not table.num_rows:
        return table
    order = places if within is None else places * (int(within.max()) + 1) + within
    falls = np.diff(order) < 0
    if not falls.any():
        return table  # taking every column of a million rows anew costs more than reading them
    begins = np.append(0, np.flatnonzero(falls | (np.diff(places) > 1)) + 1)  # of stretches of files: each is in order, they come in any
    ends = np.append(begins[1:], len(order))
    turn = np.argsort(order[begins], kind="stable")
    if len(turn) <= _STRETCHES and (order[ends[turn[:-1]] - 1] < order[begins[turn[1:]]]).all():
        return pa.concat_tables([table.slice(begins[i], ends[i] - begins[i]) for i in turn])
    return table.take(np.argsort(order, kind="stable"))


def _first_of_each(requests: pa.Table) -> pa.Table:
    """One row an id: a duplicate id in a foreign log keeps its first row."""
    ids = requests.column("request_id").to_pylist()
    if len(set(ids)) == len(ids):
        return requests
    _, first = np.unique(np.array(ids, dtype=object), return_index=True)
    return requests.take(np.sort(first))
