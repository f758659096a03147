"""One request against the feature contract and against the training data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.inputs.contracts import Contract
from diagnosis.inputs.expressions import ExpressionError, evaluate, parse
from diagnosis.inputs.training import TrainingProfile
from diagnosis.log.records import Request
from diagnosis.models import Bundle, assemble

CHECKS = ("logged", "type", "missing", "range", "category", "sentinel", "age", "recomputed", "training", "joint")
UNUSUAL = 0.001  # a candidate is unusual when fewer training rows than this share are as far out
_COLUMNS = ["feature", "check", "outcome", "failed", "of", "observed", "expected", "unit", "owner", "upstream", "item_id", "root"]


@dataclass(frozen=True, eq=False)
class Checks:
    """What was checked of one request.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row a feature and check. Columns ``feature``, ``check`` (one of `CHECKS`), ``outcome`` (``ok``, ``failed``,
        ``not_applicable``), ``failed`` and ``of`` (int64, how many of how many values), ``observed`` and ``expected`` (text; of the
        worst value), ``unit``, ``owner``, ``upstream``, ``item_id`` (of the worst value; None for a request feature), ``root`` (what
        explains a failure: a feature or an upstream; empty when nothing failed). Failures first.
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
        worst = failed.iloc[0]
        on = f" on {worst['failed']} of {worst['of']} candidates" if worst["of"] > 1 else ""
        unit = f" {worst['unit']}" if worst["unit"] else ""
        text = f"{len(failed)} of {self.done} input checks failed: {worst['feature']} is {worst['observed']}{unit}{on}, expected {worst['expected']}"
        if len(self.roots) == 1 and len(failed) > 1:
            text += f"; all of it goes back to {self.roots[0]}"
        return text + "."


def check_request(
    request: Request, contracts: Sequence[Contract], *, bundle: Bundle | None = None, training: TrainingProfile | None = None
) -> Checks:
    """Check every feature of `request`.

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
    frame["root"] = _roots(frame, contracts)
    order = frame["outcome"].map({"failed": 0, "ok": 1, "not_applicable": 2})
    weight = frame["check"].map({name: place for place, name in enumerate(_TELLING)})
    frame = frame.assign(_o=order, _w=weight).sort_values(["_o", "_w"], kind="stable").drop(columns=["_o", "_w"])
    return Checks(request.request_id, frame.reset_index(drop=True))


_TELLING = ("recomputed", "range", "sentinel", "category", "age", "missing", "type", "logged", "training", "joint")


def _contracted(request: Request, contract: Contract) -> list[dict[str, Any]]:
    table = request.table if contract.table == "candidates" else request.requests
    values = _Values(request, contract.name, contract.unit, contract.owner, contract.upstream, contract.table)
    if contract.column not in table.column_names:
        return [values.row("logged", "failed", observed="not logged", expected=f"a column {contract.source}")]
    column = table.column(contract.column)
    if pa.types.is_null(column.type):
        column = column.cast(pa.string() if contract.values else pa.float64())
    rows = [values.row("logged", "ok")]
    numeric = pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)
    wants_number = math.isfinite(contract.min) or math.isfinite(contract.max) or bool(contract.recompute)
    wants_text = bool(contract.values)
    if (wants_number and not numeric) or (wants_text and numeric and not pa.types.is_integer(column.type)):
        return [*rows, values.row("type", "failed", observed=str(column.type), expected="a number" if wants_number else "text")]
    rows.append(values.row("type", "ok"))
    null = np.asarray(column.is_null().to_numpy(), dtype=np.bool_)
    rows.append(_missing(values, contract, column, null))
    if numeric:
        number = column.cast(pa.int8()).to_numpy() if pa.types.is_boolean(column.type) else column.to_numpy()
        rows += _numbers(values, contract, np.asarray(number, dtype=np.float64), request)
    else:
        rows += _texts(values, contract, column, request.task)
    rows.append(_age(values, contract, table, request))
    return rows


def _missing(values: _Values, contract: Contract, column: pa.ChunkedArray, null: NDArray[np.bool_]) -> dict[str, Any]:
    if contract.missing == "allowed":
        return values.row("missing", "not_applicable", expected="may be missing")
    nan = np.isnan(column.to_numpy()) & ~null if pa.types.is_floating(column.type) else np.zeros(len(null), dtype=np.bool_)
    bad = null | nan
    return values.judged("missing", bad, lambda i: "NaN" if nan[i] else "missing", "a value")


def _numbers(values: _Values, contract: Contract, number: NDArray[np.float64], request: Request) -> list[dict[str, Any]]:
    rows = []
    applies = contract.applies_to(request.task)
    sentinel = contract.sentinel if isinstance(contract.sentinel, (int, float)) else None
    if sentinel is None:
        rows.append(values.row("sentinel", "not_applicable"))
        held = np.zeros(len(number), dtype=np.bool_)
    else:
        held = number == sentinel
        bad = held if applies else ~held
        expected = (
            f"a value, not the sentinel {sentinel:g}" if applies else f"the sentinel {sentinel:g} (it does not apply to {request.task})"
        )
        rows.append(values.judged("sentinel", bad, lambda i: _shown(float(number[i])), expected))
    if not (math.isfinite(contract.min) or math.isfinite(contract.max)) or not applies:
        rows.append(values.row("range", "not_applicable"))
    else:
        with np.errstate(invalid="ignore"):
            outside = ~((number >= contract.min) & (number <= contract.max)) & ~np.isnan(number) & ~held
        far = np.where(outside, np.maximum(contract.min - number, number - contract.max), -np.inf)
        rows.append(values.judged("range", outside, lambda i: _shown(float(number[i])), _between(contract), worst=far))
    rows.append(_recomputed(values, contract, number, request) if applies else values.row("recomputed", "not_applicable"))
    return rows


def _texts(values: _Values, contract: Contract, column: pa.ChunkedArray, task: str) -> list[dict[str, Any]]:
    text = np.asarray(column.to_pylist(), dtype=object)
    rows = []
    applies = contract.applies_to(task)
    if contract.sentinel is None:
        rows.append(values.row("sentinel", "not_applicable"))
    else:
        held = text == str(contract.sentinel)
        expected = f"a value, not {contract.sentinel!r}" if applies else f"the sentinel {contract.sentinel!r}"
        rows.append(values.judged("sentinel", held if applies else ~held, lambda i: repr(text[i]), expected))
    if not contract.values or not applies:
        return [*rows, values.row("category", "not_applicable")]
    allowed = {*contract.values, str(contract.sentinel)} if contract.sentinel is not None else set(contract.values)
    bad = np.array([v is not None and str(v) not in allowed for v in text], dtype=np.bool_)
    shown = ", ".join(contract.values[:6]) + (" …" if len(contract.values) > 6 else "")
    return [*rows, values.judged("category", bad, lambda i: repr(text[i]), f"one of {shown}")]


def _age(values: _Values, contract: Contract, table: pa.Table, request: Request) -> dict[str, Any]:
    stamp = f"{contract.column}__at"
    if not math.isfinite(contract.max_age_s) or stamp not in table.column_names or not contract.applies_to(request.task):
        return values.row("age", "not_applicable")
    at = table.column(stamp).cast(pa.timestamp("us", "UTC")).to_numpy()
    served = np.datetime64(request.row["served_at"].replace(tzinfo=None), "us")
    age = (served - at.astype("datetime64[us]")) / np.timedelta64(1, "s")
    with np.errstate(invalid="ignore"):
        bad = ~(age <= contract.max_age_s) & ~np.isnat(at)
    return values.judged("age", bad, lambda i: f"{age[i] / 3600:.1f} h old", f"at most {contract.max_age_s / 3600:g} h", worst=age)


def _recomputed(values: _Values, contract: Contract, number: NDArray[np.float64], request: Request) -> dict[str, Any]:
    if not contract.recompute:
        return values.row("recomputed", "not_applicable")
    columns = {}
    for name in parse(contract.recompute):
        found = _column(request, name, contract.table)
        if found is None:
            return values.row("recomputed", "not_applicable", observed=f"{name} is not logged")
        columns[name] = found
    try:
        wanted = evaluate(contract.recompute, columns)
    except ExpressionError as error:
        return values.row("recomputed", "not_applicable", observed=str(error))
    with np.errstate(invalid="ignore"):
        gap = np.abs(number - wanted)
        same = (gap <= contract.tolerance * np.maximum(1.0, np.abs(wanted))) | (np.isnan(number) & np.isnan(wanted))
    row = values.judged("recomputed", ~same, lambda i: _shown(float(number[i])), "", worst=np.nan_to_num(gap, nan=np.inf))
    if row["outcome"] == "failed":
        place = int(np.argmax(np.where(same, -np.inf, np.nan_to_num(gap, nan=np.inf))))
        row["expected"] = f"{_shown(wanted[place])} = {contract.recompute}"
    else:
        row["expected"] = contract.recompute
    return row


def _column(request: Request, name: str, table: str) -> NDArray[np.float64] | None:
    n = request.table.num_rows if table == "candidates" else 1
    if table == "candidates" and name in request.table.column_names:
        column = request.table.column(name)
    elif name in request.requests.column_names:
        column = request.requests.column(name)
    else:
        return None
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return None
    values = np.asarray(column.to_numpy(), dtype=np.float64)
    return values if len(values) == n else np.repeat(values, n)


def _trained(
    request: Request, bundle: Bundle | None, training: TrainingProfile | None, contracts: dict[str, Contract]
) -> list[dict[str, Any]]:
    """Against what training saw; features whose column is missing were named already."""
    if bundle is None or not request.table.num_rows:
        return []
    batch = request.batch
    present = [f for f in bundle.features if f.column in (request.table if f.table == "candidates" else request.requests).column_names]
    try:
        features = assemble(_only(bundle, present), batch)
    except Exception as error:  # a wrong type was named already; the rest cannot be compared
        return [_Values(request, "all", "", "", "", "requests").row("training", "not_applicable", observed=str(error).splitlines()[0])]
    rows = []
    for feature in present:
        contract = contracts.get(feature.name, Contract(feature.name, feature.source))
        values = _Values(request, feature.name, contract.unit, contract.owner, contract.upstream, feature.table)
        take = slice(None) if feature.table == "candidates" else slice(0, 1)
        column = features[feature.name].to_numpy()[take]
        if feature.dtype == "category":
            known = set(feature.categories)
            bad = np.array([v is not None and v not in known for v in column], dtype=np.bool_)
            rows.append(values.judged("training", bad, lambda i, c=column: repr(c[i]), "a category that training saw"))
        elif training is not None and feature.name in training.low:
            low, high = training.low[feature.name], training.high[feature.name]
            number = np.asarray(column, dtype=np.float64)
            room = 0.5 * (high - low)
            with np.errstate(invalid="ignore"):
                bad = (number < low - room) | (number > high + room) | np.isinf(number)
            far = np.where(bad, np.maximum(low - number, number - high), -np.inf)
            text = f"about {_shown(low)} to {_shown(high)}, as in training"
            rows.append(values.judged("training", bad, lambda i, n=number: _shown(float(n[i])), text, worst=far))
    if training is not None and len(training.numeric) > 1 and set(training.numeric) <= set(features.columns):
        rows.append(_joint(request, features, training))
    return rows


def _joint(request: Request, features: pd.DataFrame, training: TrainingProfile) -> dict[str, Any]:
    p = training.p_values(features)
    bad = p < max(UNUSUAL, 2.0 / (training.rows + 1))
    values = _Values(request, "all numeric features", "", "", "", "candidates")
    most = float(np.median(p))
    outcome = "failed" if bad.mean() >= 0.5 else "ok"
    return values.row(
        "joint",
        outcome,
        failed=int(bad.sum()) if outcome == "failed" else 0,
        of=len(p),
        observed=f"a combination as unusual as {most:.2%} of training rows",
        expected=f"a usual combination (above {UNUSUAL:.1%} for half of the candidates)",
        item_id=request.items[int(np.argmin(p))],
    )


def _only(bundle: Bundle, features: Sequence[Any]) -> Bundle:
    from dataclasses import replace

    return replace(bundle, features=tuple(features))


class _Values:
    """Makes rows about one feature."""

    def __init__(self, request: Request, feature: str, unit: str, owner: str, upstream: str, table: str) -> None:
        self.items = request.items if table == "candidates" else [None] * 1
        self.base = {"feature": feature, "unit": unit, "owner": owner, "upstream": upstream}

    def row(
        self, check: str, outcome: str, *, failed: int = 0, of: int = 0, observed: str = "", expected: str = "", item_id: str | None = None
    ) -> dict[str, Any]:
        count = {"failed": failed or int(outcome == "failed"), "of": of or len(self.items)}
        return {
            **self.base,
            "check": check,
            "outcome": outcome,
            **count,
            "observed": observed,
            "expected": expected,
            "item_id": item_id,
            "root": "",
        }

    def judged(
        self, check: str, bad: NDArray[np.bool_], observed: Any, expected: str, worst: NDArray[np.float64] | None = None
    ) -> dict[str, Any]:
        if not len(bad):
            return self.row(check, "not_applicable", expected=expected)
        if not bad.any():
            return self.row(check, "ok", of=len(bad), expected=expected)
        place = int(np.argmax(bad if worst is None else np.where(bad, worst, -np.inf)))
        return self.row(
            check, "failed", failed=int(bad.sum()), of=len(bad), observed=observed(place), expected=expected, item_id=self.items[place]
        )


def _roots(frame: pd.DataFrame, contracts: Sequence[Contract]) -> list[str]:
    """What explains each failure: a failing parent before the feature, the upstream before several of its features."""
    by_name = {c.name: c for c in contracts}
    broken = set(frame.loc[frame["outcome"] == "failed", "feature"])

    def climb(name: str, seen: frozenset[str] = frozenset()) -> str:
        contract = by_name.get(name)
        for parent in contract.derived_from if contract else ():
            if parent in broken and parent not in seen:
                return climb(parent, seen | {name})
        return name

    tops = {name: climb(name) for name in broken}
    upstreams: dict[str, set[str]] = {}
    for top in set(tops.values()):
        contract = by_name.get(top)
        if contract and contract.upstream:
            upstreams.setdefault(contract.upstream, set()).add(top)
    shared = {top: f"upstream {upstream}" for upstream, members in upstreams.items() if len(members) > 1 for top in members}
    single = {shared.get(top, top) for name, top in tops.items() if name != "all numeric features"}
    roots = []
    for name, outcome in zip(frame["feature"], frame["outcome"], strict=True):
        if outcome != "failed":
            roots.append("")
        elif name == "all numeric features" and len(single) == 1:
            roots.append(next(iter(single)))
        else:
            roots.append(shared.get(tops[name], tops[name]))
    return roots


def _between(contract: Contract) -> str:
    if math.isinf(contract.max):
        return f"at least {contract.min:g}"
    if math.isinf(contract.min):
        return f"at most {contract.max:g}"
    return f"{contract.min:g} to {contract.max:g}"


def _shown(value: float) -> str:
    return "missing" if math.isnan(value) else f"{value:.6g}"
