"""One request against the feature contract and against the training data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import BundleError
from diagnosis.inputs.contracts import Contract
from diagnosis.inputs.expressions import ExpressionError, evaluate, parse
from diagnosis.inputs.roots import JOINT, roots_of
from diagnosis.inputs.training import TrainingProfile
from diagnosis.log.records import Request
from diagnosis.models import Bundle, Feature, assemble

CHECKS = (
    "recomputed",
    "range",
    "sentinel",
    "category",
    "age",
    "status",
    "missing",
    "type",
    "logged",
    "training",
    "varied",
    "joint",
)
UNUSUAL = 0.001  # a request is unusual when fewer of those that training saw than this share are as far out
_AHEAD_S = 60.0  # clocks may differ by so much before a value counts as being from the future
_FINE = {"", "ok", "fresh", "hit", "found", "present"}
_FEW = 5  # with fewer candidates, that all hold one value says nothing
_COLUMNS = ["feature", "check", "outcome", "failed", "of", "observed", "expected", "unit", "owner", "upstream", "item_id", "text", "root"]


@dataclass(frozen=True, eq=False)
class Checks:
    """What was checked of one request.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row a feature and check. Columns ``feature``, ``check`` (one of `CHECKS`), ``outcome`` (``ok``, ``failed``,
        ``not_applicable``), ``failed`` and ``of`` (int64, how many of how many values; a request feature is one value), ``observed`` and
        ``expected`` (text; of the worst value where it failed), ``unit``, ``owner``, ``upstream``, ``item_id`` (of the worst value; None
        for a request feature), ``text`` (the failure in words), ``root`` (what explains a failure: a feature, or ``upstream x``; empty
        when nothing failed). Failures first, the most telling check first.
    """

    request_id: str
    rows: pd.DataFrame

    @property
    def failed(self) -> pd.DataFrame:
        """The failures."""
        return self.rows[self.rows["outcome"] == "failed"]

    @property
    def roots(self) -> list[str]:
        """What explains the failures, the one that explains most first."""
        return list(self.failed["root"].value_counts(sort=True).index)

    @property
    def done(self) -> int:
        """How many checks could be made."""
        return int((self.rows["outcome"] != "not_applicable").sum())

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        if not self.done:
            return "Nothing could be checked: there is no feature contract and no training sample."
        failed = self.failed
        if failed.empty:
            return f"All {self.done} input checks passed."
        text = f"{len(failed)} of {self.done} input checks failed: {failed['text'].iloc[0]}"
        if len(self.roots) == 1 and len(failed) > 1:
            text += f"; all of it goes back to {self.roots[0]}"
        return text + "."

    def as_json(self) -> dict[str, Any]:
        """The document of ``diagnosis inputs --json``."""
        rows = self.rows.astype({"failed": object, "of": object}).to_dict("records")
        return {"request_id": self.request_id, "sentence": self.sentence, "roots": self.roots, "checks": rows}


def check_request(
    request: Request, contracts: Sequence[Contract], *, bundle: Bundle | None = None, training: TrainingProfile | None = None
) -> Checks:
    """Check every feature of `request`.

    Features of the request are checked once, those of candidates as one row for all candidates. A value that is neither null nor NaN
    nor finite is out of range whatever the contract says.

    Parameters
    ----------
    bundle : Bundle, optional
        The model that scored it; its categories and features are checked even where there is no contract.
    training : TrainingProfile, optional
        What training saw, of the same task.
    """
    rows: list[dict[str, Any]] = []
    for contract in contracts:
        rows += _contracted(request, contract)
    rows += _trained(request, bundle, training, {c.name: c for c in contracts})
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    frame["item_id"] = pd.Series([row["item_id"] for row in rows], index=frame.index, dtype=object)
    frame["root"] = roots_of(frame, contracts, request.task)
    outcome = frame["outcome"].map({"failed": 0, "ok": 1, "not_applicable": 2})
    telling = frame["check"].map({name: place for place, name in enumerate(CHECKS)})
    frame = frame.iloc[np.lexsort((telling, outcome))]
    return Checks(request.request_id, frame.reset_index(drop=True))


# --- against the contract ---------------------------------------------------------------------------------------------


def _contracted(request: Request, contract: Contract) -> list[dict[str, Any]]:
    table = request.table if contract.table == "candidates" else request.requests
    values = _Values(request, contract)
    applies = contract.applies_to(request.task)
    if contract.column not in table.column_names:
        outcome = "failed" if applies or contract.sentinel is not None else "not_applicable"
        return [values.row("logged", outcome, observed="not logged", expected=f"a column {contract.source}")]
    column = table.column(contract.column)
    rows = [values.row("logged", "ok", observed=contract.source)]
    wants_number = math.isfinite(contract.min) or math.isfinite(contract.max) or bool(contract.recompute)
    wants_text = bool(contract.values)
    if column.null_count == len(column):  # what it is declared as says nothing: engines call a column without values what they like
        column = pa.chunked_array([pa.nulls(len(column), pa.string() if wants_text else pa.float64())])
        rows.append(values.row("type", "not_applicable", observed="null in every row", expected="a number" if wants_number else ""))
    elif (wants_number and not _is_number(column.type)) or (wants_text and not _is_text_like(column.type)):
        return [*rows, values.row("type", "failed", observed=str(column.type), expected="a number" if wants_number else "text")]
    else:
        rows.append(values.row("type", "ok", observed=str(column.type)))
    numeric = _is_number(column.type)
    rows.append(_missing(values, contract, column, applies))
    if numeric:
        rows += _numbers(values, contract, _doubles(column), request)
    else:
        rows += _texts(values, contract, column, request.task)
    return [*rows, _age(values, contract, table, request), _status(values, contract, table, request)]


def _missing(values: _Values, contract: Contract, column: pa.ChunkedArray, applies: bool) -> dict[str, Any]:
    if contract.missing == "allowed" or not (applies or contract.sentinel is not None):
        return values.row("missing", "not_applicable", expected="may be missing")
    null = np.asarray(column.is_null().to_numpy(), dtype=np.bool_)
    nan = np.isnan(_doubles(column)) & ~null if pa.types.is_floating(column.type) else np.zeros(len(null), dtype=np.bool_)
    return values.judged("missing", null | nan, lambda i: "NaN" if nan[i] else "missing", "a value")


def _numbers(values: _Values, contract: Contract, number: NDArray[np.float64], request: Request) -> list[dict[str, Any]]:
    applies = contract.applies_to(request.task)
    sentinel = contract.sentinel if isinstance(contract.sentinel, (int, float)) else None
    held = np.zeros(len(number), dtype=np.bool_) if sentinel is None else number == sentinel
    rows = []
    if sentinel is None:
        rows.append(values.row("sentinel", "not_applicable"))
    else:
        expected = (
            f"a value, not the sentinel {sentinel:g}" if applies else f"the sentinel {sentinel:g} (it does not apply to {request.task})"
        )
        rows.append(values.judged("sentinel", held if applies else ~held, _shown_at(number), expected, seen=_span(number)))
    if not applies:
        return [*rows, values.row("range", "not_applicable"), values.row("recomputed", "not_applicable")]
    with np.errstate(invalid="ignore"):
        inside = (number >= contract.min) & (number <= contract.max) & np.isfinite(number)
        far = np.maximum(contract.min - number, number - contract.max)
    outside = ~inside & ~np.isnan(number) & ~held
    bounded = math.isfinite(contract.min) or math.isfinite(contract.max)
    if bounded or outside.any():
        rows.append(values.judged("range", outside, _shown_at(number), _between(contract), worst=far, seen=_span(number)))
    else:
        rows.append(values.row("range", "not_applicable"))
    return [*rows, _recomputed(values, contract, number, held, request)]


def _texts(values: _Values, contract: Contract, column: pa.ChunkedArray, task: str) -> list[dict[str, Any]]:
    text = [None if v is None else v if isinstance(v, str) else str(v) for v in column.to_pylist()]
    applies = contract.applies_to(task)
    rows = []
    if contract.sentinel is None:
        rows.append(values.row("sentinel", "not_applicable"))
    else:
        held = np.array([v == str(contract.sentinel) for v in text], dtype=np.bool_)
        expected = f"a value, not {contract.sentinel!r}" if applies else f"the sentinel {contract.sentinel!r} (it does not apply to {task})"
        rows.append(values.judged("sentinel", held if applies else ~held, lambda i: repr(text[i]), expected))
    if not contract.values or not applies:
        return [*rows, values.row("category", "not_applicable")]
    allowed = set(contract.values) | ({str(contract.sentinel)} if contract.sentinel is not None else set())
    bad = np.array([v is not None and v not in allowed for v in text], dtype=np.bool_)
    shown = ", ".join(contract.values[:6]) + (" …" if len(contract.values) > 6 else "")
    return [*rows, values.judged("category", bad, lambda i: repr(text[i]), f"one of {shown}")]


def _age(values: _Values, contract: Contract, table: pa.Table, request: Request) -> dict[str, Any]:
    """Older than allowed, or from after the request; values without a time are not counted."""
    stamp = f"{contract.column}__at"
    if stamp not in table.column_names or not pa.types.is_timestamp(table.column(stamp).type) or not contract.applies_to(request.task):
        return values.row("age", "not_applicable")
    served = request.row["served_at"]
    if served is None:
        return values.row("age", "not_applicable", observed="the request has no time")
    at = table.column(stamp).cast(pa.timestamp("us", "UTC")).to_numpy().astype("datetime64[us]")
    age = (np.datetime64(served.replace(tzinfo=None), "us") - at) / np.timedelta64(1, "s")
    with np.errstate(invalid="ignore"):
        future = age < -_AHEAD_S
        bad = ~((age <= contract.max_age_s) & ~future)
    most = f"at most {contract.max_age_s / 3600:g} h" if math.isfinite(contract.max_age_s) else "from before the request"
    return values.judged(
        "age",
        bad,
        lambda i: f"from {-age[i] / 3600:.1f} h after the request" if future[i] else f"{age[i] / 3600:.1f} h old",
        most,
        worst=np.abs(age),
        known=~np.isnat(at),
        seen=f"up to {np.nanmax(age) / 3600:.1f} h old" if not np.isnan(age).all() else "",
    )


def _status(values: _Values, contract: Contract, table: pa.Table, request: Request) -> dict[str, Any]:
    """What the feature store said of each value, where the log keeps it as ``<feature>__status``."""
    name = f"{contract.column}__status"
    if name not in table.column_names or not contract.applies_to(request.task):
        return values.row("status", "not_applicable")
    said = [None if v is None else str(v) for v in table.column(name).to_pylist()]
    bad = np.array([v is not None and v.strip().lower() not in _FINE for v in said], dtype=np.bool_)
    known = np.array([v is not None for v in said], dtype=np.bool_)
    return values.judged("status", bad, lambda i: repr(said[i]), "ok", known=known)


def _recomputed(
    values: _Values, contract: Contract, number: NDArray[np.float64], held: NDArray[np.bool_], request: Request
) -> dict[str, Any]:
    """The logged value against its own recipe; not judged where a parent is missing, or the value is the sentinel."""
    if not contract.recompute:
        return values.row("recomputed", "not_applicable")
    columns = {}
    for name in sorted(parse(contract.recompute)):
        found = _column(request, name, contract.table)
        if found is None:
            return values.row("recomputed", "not_applicable", observed=f"{name} is not logged as a number")
        columns[name] = found
    try:
        wanted = evaluate(contract.recompute, columns)
    except ExpressionError as error:
        return values.row("recomputed", "not_applicable", observed=str(error))
    known = ~held
    for parent in columns.values():
        known &= ~np.isnan(parent) | ~np.isnan(wanted)
    with np.errstate(invalid="ignore"):
        gap = np.abs(number - wanted)
        same = (gap <= contract.tolerance * np.maximum(1.0, np.abs(wanted))) | (np.isnan(number) & np.isnan(wanted)) | (number == wanted)
    far = np.nan_to_num(gap, nan=np.inf)
    row = values.judged("recomputed", ~same, _shown_at(number), contract.recompute, worst=far, known=known, seen=_span(number))
    if row["outcome"] == "failed":
        place = _worst(~same & known, far)
        row |= {"expected": f"{_shown(float(wanted[place]))} = {contract.recompute}"}
        row["text"] = values.words("recomputed", row)
    return row


def _column(request: Request, name: str, table: str) -> NDArray[np.float64] | None:
    for held, rows in ((request.table, "candidates"), (request.requests, "requests")):
        if rows == "candidates" and table == "requests":
            continue
        names = {c.casefold(): c for c in held.column_names}
        if name.casefold() in names:
            column = held.column(names[name.casefold()])
            if not _is_number(column.type):
                return None
            values = _doubles(column)
            return np.repeat(values, request.table.num_rows) if rows != table else values
    return None


# --- against training -------------------------------------------------------------------------------------------------


def _trained(
    request: Request, bundle: Bundle | None, training: TrainingProfile | None, contracts: Mapping[str, Contract]
) -> list[dict[str, Any]]:
    if bundle is None or not request.table.num_rows:
        return []
    rows: list[dict[str, Any]] = []
    columns = {}
    for feature in bundle.features:
        contract = contracts.get(feature.name)
        values = _Values(request, contract or Contract(feature.name, feature.source))
        table = request.table if feature.table == "candidates" else request.requests
        if feature.column not in table.column_names:
            if contract is None:
                rows.append(values.row("logged", "failed", observed="not logged", expected=f"a column {feature.source}"))
            continue
        try:
            column = assemble(replace(bundle, features=(feature,)), request.batch)[feature.name]
        except BundleError:
            found = str(table.column(feature.column).type)
            rows.append(values.row("type", "failed", observed=found, expected=f"{feature.dtype}, as the model was given"))
            continue
        columns[feature.name] = column
        rows += _against(values, feature, column.to_numpy()[slice(None) if feature.table == "candidates" else slice(0, 1)], training)
    if training is not None and len(training.numeric) > 1 and set(training.numeric) <= set(columns):
        rows.append(_joint(request, pd.DataFrame(columns), training))
    return rows


def _against(values: _Values, feature: Feature, column: NDArray[Any], training: TrainingProfile | None) -> list[dict[str, Any]]:
    """Values that training never saw: another category, missing where it never was, far outside the range, the same everywhere."""
    rows = []
    never_missing = training is not None and training.rows >= 200 and training.missing.get(feature.name) == 0.0
    if feature.dtype == "category":
        known = set(feature.categories)
        bad = np.array([(never_missing if v is None else v not in known) for v in column], dtype=np.bool_)
        expected = "a category that training saw"
        rows.append(values.judged("training", bad, lambda i: "missing" if column[i] is None else repr(column[i]), expected))
    elif training is not None and feature.name in training.low:
        low, high = training.low[feature.name], training.high[feature.name]
        number = np.asarray(column, dtype=np.float64)
        room = 0.5 * (high - low)
        with np.errstate(invalid="ignore"):
            bad = (number < low - room) | (number > high + room) | np.isinf(number) | (np.isnan(number) & never_missing)
            far = np.nan_to_num(np.maximum(low - number, number - high), nan=-1.0)
        text = f"about {_shown(low)} to {_shown(high)}, as in training" + (", never missing" if never_missing else "")
        rows.append(values.judged("training", bad, _shown_at(number), text, worst=far, seen=_span(number)))
    if training is not None and feature.name in training.varied and feature.table == "candidates" and len(column) >= _FEW:
        rows.append(_varied(values, column, training.varied[feature.name]))
    return rows


def _varied(values: _Values, column: NDArray[Any], usual: float) -> dict[str, Any]:
    """All candidates with one value, where training hardly knows such a request: a default, a join that failed, a frozen cache."""
    stuck = len(set(pd.factorize(column)[0].tolist())) == 1
    if not stuck or usual > 0.01:
        return values.row("varied", "ok", observed="the same for all" if stuck else "varies")
    first = column[0]
    shown = "missing" if first is None else repr(first) if isinstance(first, str) else _shown(float(first))
    expected = f"values that vary (all alike in {usual:.1%} of training requests or fewer)"
    return values.row("varied", "failed", observed=f"{shown} for all {len(column)} candidates", expected=expected)


def _joint(request: Request, features: pd.DataFrame, training: TrainingProfile) -> dict[str, Any]:
    """Whether the numbers together are unusual, though each alone may be fine."""
    values = _Values(request, Contract(JOINT, "candidates.*"))
    by_row = training.p_values(features)
    of_request = training.p_request(features)
    p, n = (float(np.median(by_row)), training.rows) if math.isnan(of_request) else (of_request, training.requests)
    what = "rows" if math.isnan(of_request) else "requests"
    limit = max(UNUSUAL, 2.0 / (n + 1))
    outcome = "failed" if p < limit else "ok"
    return values.row(
        "joint",
        outcome,
        failed=len(by_row) if outcome == "failed" else 0,
        of=len(by_row),
        observed=f"a combination that {p:.2%} of training {what} are as far out as",
        expected=f"at least {limit:.2%}",
        item_id=request.items[int(np.argmin(by_row))] if outcome == "failed" else None,
    )


# --- rows -------------------------------------------------------------------------------------------------------------


class _Values:
    """Makes rows about the values of one feature."""

    def __init__(self, request: Request, contract: Contract) -> None:
        self.items: Sequence[str | None] = request.items if contract.table == "candidates" else [None]
        self.base = {"feature": contract.name, "unit": contract.unit, "owner": contract.owner, "upstream": contract.upstream}

    def row(
        self,
        check: str,
        outcome: str,
        *,
        failed: int | None = None,
        of: int | None = None,
        observed: str = "",
        expected: str = "",
        item_id: str | None = None,
    ) -> dict[str, Any]:
        of = len(self.items) if of is None else of
        count = (of if outcome == "failed" else 0) if failed is None else failed
        row = {**self.base, "check": check, "outcome": outcome, "failed": count, "of": of}
        row |= {"observed": observed, "expected": expected, "item_id": item_id, "root": ""}
        return row | {"text": self.words(check, row) if outcome == "failed" else ""}

    def words(self, check: str, row: Mapping[str, Any]) -> str:
        """A failure in words."""
        numbers = check in ("range", "recomputed", "sentinel", "training") and row["observed"][:1] in "+-.0123456789"
        unit = f" {row['unit']}" if row["unit"] and numbers else ""
        counted = len(self.items) > 1 and check not in ("varied", "joint", "logged", "type")
        on = f" on {row['failed']} of {row['of']} candidates" if counted else ""
        return f"{row['feature']} is {row['observed']}{unit}{on}, expected {row['expected']}"

    def judged(
        self,
        check: str,
        bad: NDArray[np.bool_],
        observed: Callable[[int], str],
        expected: str,
        *,
        worst: NDArray[np.float64] | None = None,
        known: NDArray[np.bool_] | None = None,
        seen: str = "",
    ) -> dict[str, Any]:
        """A row from which values are bad; `known` are those that can be judged, `worst` says how bad each is, `seen` what all are."""
        known = np.ones(len(bad), dtype=np.bool_) if known is None else known
        of, bad = int(known.sum()), bad & known
        if not of:
            return self.row(check, "not_applicable", of=0, expected=expected)
        if not bad.any():
            return self.row(check, "ok", of=of, observed=seen, expected=expected)
        place = _worst(bad, worst)
        count = int(bad.sum())
        return self.row(check, "failed", failed=count, of=of, observed=observed(place), expected=expected, item_id=self.items[place])


def _worst(bad: NDArray[np.bool_], how: NDArray[np.float64] | None) -> int:
    return int(np.argmax(bad if how is None else np.where(bad, np.nan_to_num(how, nan=np.inf), -np.inf)))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _is_text_like(kind: pa.DataType) -> bool:
    """Text, or whole numbers that may be codes of categories."""
    return not _is_number(kind) or bool(pa.types.is_integer(kind))


def _doubles(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A number column as float64; null is NaN."""
    column = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _between(contract: Contract) -> str:
    if math.isinf(contract.max) and math.isinf(contract.min):
        return "a finite number"
    if math.isinf(contract.max):
        return f"at least {contract.min:g}"
    return f"at most {contract.max:g}" if math.isinf(contract.min) else f"{contract.min:g} to {contract.max:g}"


def _shown(value: float) -> str:
    return "missing" if math.isnan(value) else f"{value:.6g}"


def _shown_at(number: NDArray[np.float64]) -> Callable[[int], str]:
    return lambda i: _shown(float(number[i]))


def _span(number: NDArray[np.float64]) -> str:
    """All values at a glance."""
    held = number[~np.isnan(number)]
    if not len(held):
        return "missing"
    low, high = float(held.min()), float(held.max())
    return _shown(low) if low == high else f"{_shown(low)} to {_shown(high)}"
