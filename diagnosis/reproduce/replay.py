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
from diagnosis.reproduce.agreement import DIFFERENT_SCORES, EXACT, NOT_REPLAYABLE, REORDERED, SAME_ORDER
from diagnosis.reproduce.batch import SERVED, doubles, scored, wholes
from diagnosis.reproduce.edits import NO_EDITS, Edits, apply_edits
from diagnosis.rules import Ruleset, after, before
from diagnosis.rules.apply import SLOTS

STAGES = ("retrieved", "filtered", "features", "score", "rank", "rules", "served")
_NO_ITEMS = pd.DataFrame(index=pd.Index([], name="item_id"))
_PLACES = ("logged_rank", "replayed_rank", "logged_position", "replayed_position")
_JSON = {"logged": "logged_score", "replayed": "replayed_score", "adjusted": "adjusted_score"}


@dataclass(frozen=True, eq=False)
class Replay:
    """A logged request next to the same request replayed.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row a candidate in logged order, index ``item_id``. Columns ``logged``, ``replayed`` (float64, raw score; NaN = none),
        ``logged_rank``, ``replayed_rank``, ``logged_position``, ``replayed_position`` (Int64, from 1; null = none),
        ``logged_dropped_by``, ``replayed_dropped_by`` (object; None = shown or not known), ``adjusted`` (float64, replayed score after
        boosts; NaN without a ruleset), ``due`` (bool, whether the log or the replay should have a score).
    verdict : str
        ``exact`` (scores bitwise the same), ``same_order`` (within `tolerance`, same ranks), ``reordered`` (within tolerance, ranks
        differ), ``different_scores`` (beyond it), ``not_replayable``. Ranks of equal scores may differ freely. Of a what-if it says
        how the edited request compares to the log.
    reasons : tuple of str
        Why it is not replayable or differs.
    first_stage : str or None
        The first stage where logged and replayed part, or where the log cannot be followed: one of `STAGES`; None if neither.
    tolerance : float
        Largest score difference that counts as the same.
    noise_floor : float
        Largest score difference between scoring in batch, row by row, and with one and two threads; NaN if not measured.
    candidates_total : int
        How many candidates there were; more than rows when the log keeps only some, and then places below them are not known.
    problems : tuple of Problem
        What makes the replay less than exact, or impossible.
    plain : Replay or None
        Of a what-if: the same request without edits, where it could be had.
    stages : pandas.DataFrame
        Of a composite, one row a stage, index ``stage``: ``logged``, ``replayed`` (int64, candidates with a score of that stage), ``gap``
        (float64, largest difference of these scores; NaN where the log has none), ``dropped`` (int64, that the log says it dropped), ``same`` (bool), ``text``
        (what differs). Empty for other models.
    """

    request_id: str
    rows: pd.DataFrame
    verdict: str
    reasons: tuple[str, ...]
    first_stage: str | None
    tolerance: float
    noise_floor: float
    model: str | None
    model_version: str | None
    ruleset: str | None
    edits: Edits
    candidates_total: int
    problems: tuple[Problem, ...] = ()
    plain: Replay | None = None
    stages: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def gap(self) -> float:
        """Largest ``|replayed - logged|`` over candidates that were scored; NaN if a score is missing on one side, or is NaN."""
        rows = self.rows
        owner = np.zeros(len(rows), dtype=np.int64)
        return float(agreement.gaps(_floats(rows["logged"]), _floats(rows["replayed"]), rows["due"].to_numpy(), owner, 1)[0])

    @property
    def partial(self) -> bool:
        """Whether the log holds only some of the candidates."""
        return self.candidates_total > len(self.rows)

    @property
    def scored(self) -> int:
        """How many candidates have a logged score."""
        return int(self.rows["logged"].notna().sum())

    @property
    def moved(self) -> pd.DataFrame:
        """Candidates whose place changed, by new place.

        The place is the position where a ruleset was replayed, else the rank. It is compared with the log; of a what-if with the
        plain replay, so that what did not reproduce anyway is not put down to the edits.

        Returns
        -------
        pandas.DataFrame
            Rows of `rows`, with columns ``before``, ``after`` (Int64, places; null = none), ``by`` (Int64, places gained; null if it
            came or went) and ``way`` (``up``, ``down``, ``came``, ``went``). Empty where nothing was replayed.
        """
        kind = "rank" if self.ruleset is None else "position"
        after = self.rows[f"replayed_{kind}"].array
        usable = self.plain is not None and bool(self.plain.rows[f"replayed_{kind}"].notna().any())
        before = (self.plain.rows[f"replayed_{kind}"] if usable and self.plain else self.rows[f"logged_{kind}"]).array
        moved = self.rows.assign(before=before, after=after)
        was, now = (moved[name].fillna(0).to_numpy(dtype=np.int64) for name in ("before", "after"))
        way = np.select([was == 0, now == 0, now < was], ["came", "went", "up"], "down").astype(object)
        changed: pd.DataFrame = moved.assign(by=moved["before"] - moved["after"], way=way).loc[(was != now) & bool(now.any())]
        return changed.sort_values(["after", "before"], kind="stable")

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        text = self._what_if() if self.edits else self._plainly()
        if self.partial and self.verdict != NOT_REPLAYABLE:
            text += f"; only {len(self.rows)} of {self.candidates_total} candidates are logged, so places are partial"
        return text + "."

    def _what_if(self) -> str:
        if self.verdict == NOT_REPLAYABLE:
            return f"This what-if cannot be answered: {'; '.join(self.reasons)}"
        moved = self.moved
        text = f"What if {self.edits}: {len(moved)} of {len(self.rows)} candidates would change their place"
        gains = moved["by"].dropna()
        if len(gains):
            most = moved.loc[[gains.abs().idxmax()]].iloc[0]
            text += f", {gains.abs().idxmax()} most, from {most['before']} to {most['after']}"
        if self.plain is not None and self.plain.verdict not in (EXACT, SAME_ORDER):
            text += f"; without the edits it is {self.plain.verdict.replace('_', ' ')}, so take this as the model's answer, not the log's"
        return text

    def _plainly(self) -> str:
        who = f"{self.model} {self.model_version}" if self.model else "no model"
        if self.verdict == NOT_REPLAYABLE:
            return f"Not replayable: {'; '.join(self.reasons)}{self._instead(who)}"
        if self.verdict == EXACT:
            text = f"Reproduced exactly: {who} gives all {self.scored} logged scores bit for bit"
        elif self.verdict == SAME_ORDER:
            text = f"Reproduced: {who} gives the logged order, scores within {self.gap:.3g}"
        elif self.verdict == REORDERED:
            text = f"Nearly reproduced: scores of {who} within {self.gap:.3g}, but candidates change ranks"
        else:
            gap = "; ".join(self.reasons) if math.isnan(self.gap) else f"scores differ by up to {self.gap:.3g}"
            text = f"Not reproduced with {who}: {gap}"
            if self.gap <= self.noise_floor:
                text += f", which is within the noise of scoring here ({self.noise_floor:.3g})"
        if self.first_stage == "rules":
            return f"{text}, but ruleset {self.ruleset} gives another page than was shown"
        if self.ruleset and self.first_stage is None and self.rows["logged_position"].notna().any():
            return f"{text}, and ruleset {self.ruleset} gives the page that was shown"
        return text

    def _instead(self, who: str) -> str:
        """What the model would have done where something else made the page."""
        rows = self.rows
        page, shown = rows["replayed_position"].notna(), rows["logged_position"].notna()
        if not page.any():
            return ""
        if not shown.any():
            return f"; {who} would have shown {int(page.sum())} items"
        return f"; {who} would have shown {int((page & shown).sum())} of the {int(shown.sum())} items on the page"

    def as_json(self) -> dict[str, Any]:
        """The document of ``diagnosis replay --json`` (NaN, infinity and null are None); ``stages`` is there for composites only."""
        shown = self.rows.drop(columns="due").rename(columns=_JSON)
        return _said_of_stages(self.stages) | {
            "request_id": self.request_id,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "first_stage": self.first_stage,
            "sentence": self.sentence,
            "model": self.model,
            "model_version": self.model_version,
            "ruleset_version": self.ruleset,
            "tolerance": self.tolerance,
            "gap": _plain(self.gap),
            "noise_floor": _plain(self.noise_floor),
            "candidates_total": self.candidates_total,
            "candidates_logged": len(self.rows),
            "edits": [str(edit) for edit in self.edits.values],
            "plain_verdict": self.plain.verdict if self.plain else None,
            "problems": [dataclasses.asdict(problem) for problem in self.problems],
            "candidates": [
                {"item_id": str(item), **{key: _plain(value) for key, value in row.items()}}
                for item, row in zip(shown.index, shown.to_dict("records"), strict=True)
            ],
        }


def _said_of_stages(rows: pd.DataFrame) -> dict[str, Any]:
    if rows.empty:
        return {}
    records = zip(rows.index, rows.to_dict("records"), strict=True)
    return {"stages": [{"stage": str(name), **{key: _plain(value) for key, value in row.items()}} for name, row in records]}


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
    rows["logged_dropped_by"] = pd.Series(_texts(request.table, "dropped_by"), index=rows.index, dtype=object)
    total = max(int(request.row.get("candidates_total") or 0), len(rows))
    verdict = NOT_REPLAYABLE if reasons else _verdict(rows, tolerance)
    if verdict == NOT_REPLAYABLE:
        first = _where_lost(request, every)
    else:
        first = _first_stage(rows, was, now, verdict, edits, ruleset is not None, total > len(rows))
    if verdict == DIFFERENT_SCORES and not edits:
        reasons = _differences(rows, was, now, tolerance)
    stages = _stages(request, result.by_stage, tolerance)
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


def _stages(request: Request, by_stage: Mapping[str, NDArray[np.float64]], tolerance: float) -> pd.DataFrame:
    """Each stage of a composite against what the log holds of it (``score__<stage>``, ``dropped_by``); see `Replay.stages`."""
    drops, rows = _texts(request.table, "dropped_by"), []
    for name, replayed in by_stage.items():
        column = f"score__{name}"
        logged = doubles(request.table, column)
        known = request.table.column(column).is_valid().to_numpy() if column in request.table.column_names else np.zeros(len(logged), bool)
        gap = float(agreement.gaps(logged, replayed, known, np.zeros(len(logged), dtype=np.int64), 1)[0]) if known.any() else math.nan
        cut = int((drops == name).sum())
        differ = bool(known.any()) and not gap <= tolerance
        text = (
            f"its scores differ by up to {gap:.3g}"
            if differ and not math.isnan(gap)
            else "it has no score where the log has one"
            if differ
            else ""
        )
        rows.append((name, int(known.sum()), int((~np.isnan(replayed)).sum()), gap, cut, not differ, text))
    columns = ["stage", "logged", "replayed", "gap", "dropped", "same", "text"]
    return pd.DataFrame(rows, columns=columns).astype({"same": bool}).set_index("stage")


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
    drops = _texts(request.table, "dropped_by")
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


def _texts(table: pa.Table, column: str) -> NDArray[np.object_]:
    texts = np.full(table.num_rows, None, dtype=object)
    if column in table.column_names:
        texts[:] = table.column(column).to_pylist()
    return texts


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


def _plain(value: Any) -> Any:
    """A value for JSON: NaN, infinity and null are None."""
    if value is None or value is pd.NA:
        return None
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, (int, np.integer)) else value


def unavailable_reason(error: DiagnosisError) -> str:
    """Why a model is not there, as a part of a sentence."""
    return error.message.rstrip(".")
