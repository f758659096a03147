"""A logged request next to the same request scored and ruled now."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import BundleError, DiagnosisError, MissingFeaturesError
from diagnosis.log.records import Request
from diagnosis.models import CompositeModel, Model, Problem, assemble
from diagnosis.models.stages import names_of
from diagnosis.reproduce import agreement
from diagnosis.reproduce.agreement import DIFFERENT_SCORES, NOT_REPLAYABLE, REORDERED
from diagnosis.reproduce.batch import SERVED, doubles, scored, texts, wholes
from diagnosis.reproduce.edits import NO_EDITS, Edits, apply_edits
from diagnosis.reproduce.result import Replay
from diagnosis.reproduce.stages import compared
from diagnosis.rules import Ruleset, after, before
from diagnosis.rules.apply import SLOTS

_NO_ITEMS = pd.DataFrame(index=pd.Index([], name="item_id"))


def replay(
    request: Request,
    model: Model | None,
    *,
    ruleset: Ruleset | None = None,
    items: pd.DataFrame = _NO_ITEMS,
    edits: Edits = NO_EDITS,
    tolerance: float = 0.0,
    noise: bool = False,
    tolerate_noise: bool = False,
    problems: Sequence[Problem] = (),
    unavailable: str = "",
) -> Replay:
    """Score `request` with `model`, apply `ruleset`, and set the result next to the log.

    Parameters
    ----------
    model : Model or None
        Need not be the one that served the request: replaying with the previous version clears or blames the new one. None where
        there is none; `unavailable` then says why.
    ruleset : Ruleset, optional
        Without one there are no replayed positions.
    items : pandas.DataFrame
        Item attributes as they were then, index ``item_id``.
    tolerance : float
        Largest score difference that still counts as the same; 0 asks for the same bits.
    noise : bool
        Also measure the noise floor.
    tolerate_noise : bool
        Measure it, and raise the tolerance to it.
    problems : sequence of Problem
        What `preflight` found; a fatal one makes the request not replayable.

    Raises
    ------
    NotFoundError
        If an edit names an item or a feature that is not there.
    ValueError
        If an edit's value does not fit its feature, or the tolerance is negative.
    RulesError
        If a rule needs an attribute that is not logged.

    Examples
    --------
    >>> from diagnosis.testing import LinearModel, make_request
    >>> replay(make_request(score=[2.0, 1.0], price=[1.0, 2.0]), LinearModel(price=-1.0)).gap
    3.0
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance!r}; it must be 0 or more")
    was = scored(request.table)
    open_request = request if was.any() else _reopened(request, ruleset)
    dropped = before(ruleset, open_request, items) if ruleset else _dropped_unscored(open_request)
    if isinstance(model, CompositeModel):  # what an earlier stage did not keep goes through the stages again
        dropped[np.isin(dropped.astype(str), list(names_of(model.bundle.stages)))] = None
    now = np.array([d is None for d in dropped], dtype=np.bool_)
    fatal = [p for p in problems if p.fatal]
    result = _Scores(np.full(len(now), np.nan)) if model is None or fatal else _score(request, model, edits, now, noise or tolerate_noise)
    if result.cut is not None:
        dropped, now = np.where(now, result.cut, dropped), now & np.array([c is None for c in result.cut], dtype=np.bool_)
    if tolerate_noise and result.noise_floor > tolerance:
        tolerance = result.noise_floor
    every = [*problems, *result.problems]
    reasons = _why_not(request, model, every, unavailable, was, bool(edits))
    rows = _rows(open_request, result.score, was | now, ruleset, items, dropped)
    rows["logged_dropped_by"] = pd.Series(texts(request.table, "dropped_by"), index=rows.index, dtype=object)
    total = max(int(request.row.get("candidates_total") or 0), len(rows))
    verdict = NOT_REPLAYABLE if reasons else _verdict(rows, tolerance)
    if verdict == NOT_REPLAYABLE:
        first = _where_lost(request, every)
    else:
        first = _first_stage(rows, was, now, verdict, edits, ruleset is not None, total > len(rows))
    if verdict == DIFFERENT_SCORES and not edits:
        reasons = _differences(rows, was, now, tolerance)
    stages = compared(request, result.by_stage, tolerance)
    if verdict != NOT_REPLAYABLE and not edits and not stages["same"].all():
        first, reasons = "filtered", [*reasons, *(f"stage {name}: {text}" for name, text in stages["text"][~stages["same"]].items())]
        verdict = DIFFERENT_SCORES
    return Replay(
        request_id=request.request_id,
        rows=rows,
        verdict=verdict,
        reasons=tuple(reasons),
        first_stage=first,
        tolerance=tolerance,
        noise_floor=result.noise_floor,
        model=model.bundle.name if model else request.row.get("model"),
        model_version=model.bundle.version if model else request.row.get("model_version"),
        ruleset=ruleset.version if ruleset else None,
        edits=edits,
        candidates_total=total,
        problems=tuple(every),
        stages=stages,
    )


@dataclass(frozen=True, eq=False)
class _Scores:
    score: NDArray[np.float64]
    noise_floor: float = math.nan
    problems: tuple[Problem, ...] = ()
    cut: NDArray[np.object_] | None = None  # of a composite: the stage that did not keep a candidate
    by_stage: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


def _score(request: Request, model: Model, edits: Edits, now: NDArray[np.bool_], noise: bool) -> _Scores:
    """Scores of the candidates that go on to be scored; what the log lacks for that is a fatal problem."""
    score = np.full(len(now), np.nan)
    if not now.any():
        return _Scores(score)
    try:
        features = assemble(model.bundle, request.batch)
    except MissingFeaturesError as error:
        return _Scores(score, problems=(Problem("missing_feature", error.missing[0], error.message, True),))
    except BundleError as error:
        return _Scores(score, problems=(Problem("dtype", None, error.message, True),))
    features, problems = apply_edits(edits.values, features, request.items, model.bundle)
    held = features if now.all() else features[now].reset_index(drop=True)
    groups = np.array([len(held)], dtype=np.int64)
    cut, by_stage = None, {}
    if isinstance(model, CompositeModel):
        run = model.run(held, groups)
        score[now], cut = run.score, np.full(len(now), None, dtype=object)
        cut[now] = run.dropped_by
        by_stage = {name: _spread(values, now) for name, values in run.by_stage.items()}
    else:
        score[now] = np.asarray(model.score(held, groups=groups), dtype=np.float64)
    return _Scores(score, _noise(model, held, groups, score[now]) if noise else math.nan, problems, cut, by_stage)


def _spread(values: NDArray[np.float64], rows: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Values at `rows`, NaN elsewhere."""
    out = np.full(len(rows), np.nan)
    out[rows] = values
    return out


def _noise(model: Model, features: pd.DataFrame, groups: NDArray[np.int64], score: NDArray[np.float64]) -> float:
    """Largest difference between ways of scoring the same rows; infinite where only one of them gives a number."""
    others = [np.asarray(model.score(features, groups=groups, threads=threads), dtype=np.float64) for threads in (1, 2)]
    if model.bundle.scope == "row":
        one = np.array([1], dtype=np.int64)
        others.append(np.concatenate([model.score(features.iloc[[i]].reset_index(drop=True), groups=one) for i in range(len(features))]))
    largest = 0.0
    for other in others:
        apart = ~((score == other) | (np.isnan(score) & np.isnan(other)))
        if apart.any():
            with np.errstate(invalid="ignore"):
                largest = max(largest, float(np.nan_to_num(np.abs(score - other)[apart], nan=np.inf, posinf=np.inf).max()))
    return largest


def _why_not(
    request: Request, model: Model | None, problems: Sequence[Problem], unavailable: str, was: NDArray[np.bool_], what_if: bool
) -> list[str]:
    reasons, status = [], str(request.row.get("status"))
    if status in SERVED and not what_if:
        text = SERVED[status]
        if status == "cached" and request.row.get("source_request_id"):
            text += f" (of request {request.row['source_request_id']}; replay that one)"
        if status == "fallback" and request.row.get("fallback"):
            text += f" ({request.row['fallback']})"
        reasons.append(text)
    if not request.table.num_rows:
        reasons.append("no candidates were logged")
    if len(set(request.items)) < len(request.items):
        reasons.append("an item stands twice among the candidates")
    fatal = [p.text.rstrip(".") for p in problems if p.fatal]
    if model is None and unavailable:
        reasons.append(unavailable)
    elif model is None and not fatal and not reasons:
        reasons.append("the log names no model")
    if model is not None and not reasons and not fatal and not was.any() and not what_if:
        reasons.append("no scores were logged")
    return reasons + (fatal if not unavailable else [])


def _where_lost(request: Request, problems: Sequence[Problem]) -> str | None:
    """The stage at which a request that is not replayable cannot be followed."""
    if request.row.get("status") in SERVED:
        return "served"
    if len(set(request.items)) < max(len(request.items), 1):
        return "retrieved"
    return "features" if any(p.fatal and p.kind in ("missing_feature", "dtype") for p in problems) else None


def _dropped_unscored(request: Request) -> NDArray[np.object_]:
    """Without a ruleset: what the log says was dropped and has no score."""
    drops = texts(request.table, "dropped_by")
    drops[scored(request.table)] = None
    return drops


def _reopened(request: Request, ruleset: Ruleset | None) -> Request:
    """A request that no model scored, as if its candidates were still to be scored.

    That something else than the model cut them from the page says nothing about what the model would have done. What was dropped
    before scoring, or by a rule that is taken from the log, stays dropped.
    """
    if "dropped_by" not in request.table.column_names:
        return request
    later = {SLOTS} | {rule.name for rule in (ruleset.rules if ruleset else ()) if rule.phase == "after" and rule.replay == "apply"}
    drops = [None if d in later else d for d in request.table.column("dropped_by").to_pylist()]
    place = request.table.column_names.index("dropped_by")
    return dataclasses.replace(request, table=request.table.set_column(place, "dropped_by", pa.array(drops, pa.string())))


def _rows(
    request: Request,
    score: NDArray[np.float64],
    due: NDArray[np.bool_],
    ruleset: Ruleset | None,
    items: pd.DataFrame,
    dropped: NDArray[np.object_],
) -> pd.DataFrame:
    n, table = len(score), request.table
    rank = wholes(table, "rank")
    nowhere = pd.array([pd.NA] * n, dtype="Int64")
    rows = {
        "logged": doubles(table, "score"),
        "replayed": score,
        "logged_rank": _places(rank),
        "replayed_rank": _places(agreement.ranks(score, np.zeros(n, dtype=np.int64), rank)),
        "logged_position": _places(wholes(table, "position")),
        "replayed_position": nowhere,
        "logged_dropped_by": np.full(n, None, dtype=object),
        "replayed_dropped_by": dropped,
        "adjusted": np.full(n, np.nan),
        "due": due,
    }
    if ruleset is not None and not np.isnan(score).all():
        page = after(ruleset, request, items, score, dropped).rows
        rows |= {"replayed_position": page["position"].array, "adjusted": page["adjusted"].to_numpy(dtype=np.float64)}
        rows["replayed_dropped_by"] = page["dropped_by"].to_numpy(dtype=object)
    frame = pd.DataFrame(rows, index=pd.Index(np.array(request.items, dtype=object), name="item_id"))
    for name in ("logged_dropped_by", "replayed_dropped_by"):
        frame[name] = pd.Series([None if d is None or d != d else d for d in rows[name]], index=frame.index, dtype=object)
    return frame


def _places(numbers: NDArray[np.int64]) -> Any:
    return pd.arrays.IntegerArray(numbers.copy(), numbers <= 0)


def _floats(column: pd.Series[Any]) -> NDArray[np.float64]:
    return column.to_numpy(dtype=np.float64)


def _verdict(rows: pd.DataFrame, tolerance: float) -> str:
    logged, replayed, owner = _floats(rows["logged"]), _floats(rows["replayed"]), np.zeros(len(rows), dtype=np.int64)
    gap = agreement.gaps(logged, replayed, rows["due"].to_numpy(), owner, 1)
    rank = rows["logged_rank"].fillna(0).to_numpy(dtype=np.int64)
    return str(agreement.verdicts(gap, agreement.in_order(logged, rank, replayed, owner, 1), tolerance)[0])


def _first_stage(
    rows: pd.DataFrame, was: NDArray[np.bool_], now: NDArray[np.bool_], verdict: str, edits: Edits, ruled: bool, partial: bool
) -> str | None:
    if (was != now).any():
        return "filtered"
    if verdict == DIFFERENT_SCORES:
        return "features" if edits.values else "score"
    if verdict == REORDERED:
        return "rank"
    return "rules" if ruled and rows["logged_position"].notna().any() and not _same_page(rows, partial) else None


def _same_page(rows: pd.DataFrame, partial: bool) -> bool:
    """Whether the replayed page is the logged one, up to candidates of equal score.

    Where only some candidates are logged, the others may have taken places: then those shown in both must stand in the same order,
    and none that was shown may be gone.
    """
    shown = rows[rows["logged_position"].notna()].sort_values("logged_position", kind="stable")
    again = rows[rows["replayed_position"].notna()].sort_values("replayed_position", kind="stable")
    if partial:
        again = again[again["logged_position"].notna()]
    elif (rows["logged_position"].fillna(0) == rows["replayed_position"].fillna(0)).all():
        return True
    if len(shown) != len(again):
        return False
    return bool((shown["adjusted"].to_numpy() == again["adjusted"].to_numpy()).all())


def _differences(rows: pd.DataFrame, was: NDArray[np.bool_], now: NDArray[np.bool_], tolerance: float) -> list[str]:
    logged, replayed = _floats(rows["logged"]), _floats(rows["replayed"])
    both = was & now
    with np.errstate(invalid="ignore"):
        apart = both & ~((np.abs(replayed - logged) <= tolerance) | (replayed == logged))
    nan = both & (np.isnan(logged) | np.isnan(replayed))
    found = (
        (int((apart & ~nan).sum()), "scores differ"),
        (int((nan & np.isnan(logged)).sum()), "logged scores are NaN"),
        (int((nan & ~np.isnan(logged)).sum()), "replayed scores are NaN"),
        (int((was & ~now).sum()), "candidates have a logged score and no replayed one"),
        (int((now & ~was).sum()), "candidates have a replayed score and no logged one"),
    )
    return [f"{count} of {len(rows)} {text}" for count, text in found if count]


def unavailable_reason(error: DiagnosisError) -> str:
    """Why a model is not there, as a part of a sentence."""
    return error.message.rstrip(".")
