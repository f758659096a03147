"""A fix, rehearsed: played on logged requests of all tasks before anybody publishes it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from diagnosis.localize.columns import score
from diagnosis.localize.judge import SERVICE
from diagnosis.localize.sample import Floats, Mask
from diagnosis.localize.stage import Played, Stage, World
from diagnosis.localize.verdict import MODELLED
from diagnosis.localize.windows import Window
from diagnosis.metrics import PerRequest
from diagnosis.resolve.actions import Action
from diagnosis.resolve.gains import Gain, Pair, gain, judged, level, slices_of, together
from diagnosis.resolve.playing import Acted, act
from diagnosis.resolve.scene import Scene, valued

MARGIN = 0.005  # share of the metric, over the requests that a fix is for, below which a change is none
_MOVED = 0.01  # share of the metric by which one request must gain or lose to count as fixed or harmed
_TIMED = 60  # requests whose scoring is timed
Three = tuple[float, float, float]


@dataclass(frozen=True)
class Latency:
    """Milliseconds a request: medians over hit requests that are scored.

    Attributes
    ----------
    served_ms, fixed_ms : float
        Of scoring the candidates, here and now, one request at a time, the way it was served and with the fix; NaN where nothing is scored.
    logged_ms, pinned_ms : float
        As logged: of the hit requests, and of those that the pinned version served; NaN where not logged.
    """

    served_ms: float
    fixed_ms: float
    logged_ms: float
    pinned_ms: float


@dataclass(frozen=True)
class Rehearsal:
    """What a fix would have done to the requests of a window.

    Attributes
    ----------
    refused : str
        Why it must not be published; empty if nothing speaks against it.
    accepted : tuple of str
        Tasks whose harm somebody took into account.
    now, fixed, baseline : tuple of float
        The metric over all requests: as measured, with the fix, in the baseline; value, low, high (95%).
    whole : Gain
    tasks, slices : tuple of Gain
        By task, and by every other request attribute with few values; each family corrected for its size.
    fixed_share, unchanged_share, harmed_share : float
        Of the requests that the fix is for, weighted: those whose metric gains or loses more than 1% of the metric, and the others.
    blast : float
        Weighted share of all requests of the environment (or of all) that the fix is for.
    pages_changed : float
        Weighted share of all requests whose page is another.
    proof : str
        ``replay``, or ``replay+model`` where a model of outcomes judges pages that were never shown.
    notes : tuple of str
        What had to be assumed.
    requests : int
        Logged requests that were played.
    """

    actions: tuple[str, ...]
    metric: str
    unit: str
    direction: str
    window: Window
    refused: str
    now: Three
    fixed: Three
    baseline: Three
    whole: Gain
    tasks: tuple[Gain, ...]
    slices: tuple[Gain, ...]
    fixed_share: float
    unchanged_share: float
    harmed_share: float
    blast: float
    cap: float
    pages_changed: float
    latency: Latency
    proof: str
    requests: int
    accepted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    examples: tuple[str, ...] = field(default=())

    @property
    def harmed(self) -> tuple[str, ...]:
        """Tasks that it harms."""
        return tuple(g.value for g in self.tasks if g.verdict == "harmed")

    @property
    def too_wide(self) -> bool:
        """Whether nothing but its cap speaks against it."""
        return self.blast > self.cap and not set(self.harmed) - set(self.accepted) and self.whole.verdict != "harmed"

    @property
    def comes_back(self) -> float:
        """Share of the way from now to the baseline; NaN where they hardly differ."""
        way = self.baseline[0] - self.now[0]
        return self.whole.change / way if abs(way) > 1e-12 else float("nan")

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        back = f", {self.comes_back:.0%} of the way back to the baseline" if self.comes_back > 0 else ", away from the baseline"
        back = back if self.comes_back else ""
        return (
            f"{self.metric} changes by {self.whole.change:+.4g} ({self.whole.low:+.4g} to {self.whole.high:+.4g}){back}; "
            f"{self.fixed_share:.0%} of the {self.blast:.1%} of requests it is for are better, {self.harmed_share:.0%} worse"
        )

    def as_json(self) -> dict[str, Any]:
        """The document of ``diagnosis rehearse --json``; NaN is null."""
        held = {**asdict(self), "window": {"since": self.window.since.isoformat(), "until": self.window.until.isoformat()}}
        return {**_plain(held), "sentence": self.sentence, "harmed": list(self.harmed), "comes_back": _plain(self.comes_back)}


def rehearse(
    scene: Scene, actions: Sequence[Action], *, environment: str = "", cap: float = 1.0, accept: Sequence[str] = (), margin: float = MARGIN
) -> Rehearsal:
    """Play actions on the requests of a scene.

    Parameters
    ----------
    cap : float
        Share of requests that the fix may touch; more is refused.
    accept : sequence of str
        Tasks that may be harmed.
    margin : float
        Share of the metric, over the requests that the fix is for, below which a change is none.

    Raises
    ------
    CannotSayError
        If an action cannot be replayed from this log, and why.
    NotFoundError, ModelError, RulesError, FilterError
    """
    acted = act(scene, actions, environment)
    played, stage = acted.play(), acted.scene.stage
    moved, paged = _moved(stage, scene.served, played)
    pair = _pair(scene, acted, played, paged)
    sample, now = scene.sample, scene.sample.incident
    moved |= acted.fallen
    logged = scene.judge.logged(sample)
    gains = [_gain(scene, pair, logged, rows, moved, acted.hit, a, v) for a, v, rows in [("", "", now), *slices_of(sample)]]
    tasks = judged([g for g in gains if g.attribute == "task"] or [replace(gains[0], attribute="task", value="all")], margin)
    whole = judged(gains[:1], margin)[0]
    better = _per_request(pair, whole)
    hit, size = acted.hit, _MOVED * abs(whole.served)
    made = Rehearsal(
        actions=tuple(a.sentence for a in actions),
        metric=scene.metric.name,
        unit=scene.metric.unit,
        direction=scene.metric.direction,
        window=scene.window,
        refused="",
        now=level(sample, logged, now),
        fixed=together(sample, logged, pair, now),
        baseline=level(sample, logged, ~now),
        whole=whole,
        tasks=tuple(tasks),
        slices=tuple(judged([g for g in gains[1:] if g.attribute != "task"], margin)),
        fixed_share=_share(scene, better > size, hit),
        unchanged_share=_share(scene, np.abs(better) <= size, hit),
        harmed_share=_share(scene, better < -size, hit),
        blast=_share(scene, hit, _there(scene, environment)),
        cap=cap,
        pages_changed=_share(scene, paged, now),
        latency=_latency(acted, hit),
        proof="replay" if scene.metric.base in SERVICE else scene.judge.proof,
        requests=int(now.sum()),
        accepted=tuple(accept),
        notes=acted.notes,
        examples=tuple(scene.ids[i] for i in np.argsort(-np.where(hit & paged, better, -np.inf), kind="stable")[:5] if hit[i] and paged[i]),
    )
    return replace(made, refused=_refused(made))


def on_terms(made: Rehearsal, cap: float, accept: Sequence[str]) -> Rehearsal:
    """The same rehearsal, judged by another cap and other accepted harm."""
    made = replace(made, cap=cap, accepted=tuple(accept))
    return replace(made, refused=_refused(made))


def _refused(made: Rehearsal) -> str:
    """Why a fix must not go out; empty if nothing speaks against it."""
    harmed = [t for t in made.harmed if t not in made.accepted]
    if made.blast > made.cap:
        return f"It is for {made.blast:.1%} of the requests, and its cap is {made.cap:.1%}."
    if harmed:
        helped = [g.value for g in made.tasks if g.verdict == "helped"]
        also = f" while it helps {', '.join(helped)}" if helped else ""
        return f"It harms {', '.join(harmed)}{also}."
    if made.whole.verdict == "harmed" and not made.accepted:
        return f"It makes {made.metric} worse."
    return ""


def _pair(scene: Scene, acted: Acted, played: Played, paged: Mask) -> Pair:
    """The metric of every request in both worlds; where the page is the same, it is the same."""
    if scene.metric.base in SERVICE:
        return _service(scene, acted)
    models = [scene.judge.outcomes, *(scene.judge.folds or ())]
    if scene.metric.base == "score_mean" or scene.judge.outcomes is None:
        paged = paged | acted.hit  # scores count, too
    stage, kept = scene.stage.take(np.flatnonzero(paged)), paged[scene.sample.owner]
    pages = [Played(p.score[kept], p.position[kept]) for p in (scene.served, played)]
    parts = []
    for model in models:
        both = []
        for page in pages:
            whole = scene.valued(model)
            numerator, denominator = whole.numerator.copy(), whole.denominator.copy()
            if paged.any():
                part = valued(scene, stage, page, model)
                numerator[paged], denominator[paged] = part.numerator, part.denominator
            both.append(PerRequest(numerator, denominator))
        parts.append((both[0], both[1]))
    return Pair(*parts[0], tuple(parts[1:]), MODELLED if scene.judge.outcomes is not None else 0.0)


def _service(scene: Scene, acted: Acted) -> Pair:
    """Rates of statuses: a request that a fallback answers has that status, and no other."""
    served, fallen = scene.judge.logged(scene.sample), acted.fallen
    becomes = 1.0 if scene.metric.base == "fallback_rate" else 0.0
    return Pair(served, PerRequest(np.where(fallen, becomes, served.numerator), served.denominator))


def _gain(scene: Scene, pair: Pair, logged: PerRequest, rows: Mask, moved: Mask, hit: Mask, attribute: str, value: Any) -> Gain:
    before = ~scene.sample.incident
    if attribute:
        before = before & scene.sample.inside({attribute: [value]})
    baseline = level(scene.sample, logged, before)[0] if before.any() else float("nan")
    direction = scene.metric.direction
    return gain(scene.sample, pair, rows, moved, hit, direction=direction, baseline=baseline, attribute=attribute, value=value)


def _moved(stage: Stage, served: Played, played: Played) -> tuple[Mask, Mask]:
    """Requests with another score or page, and those with another page."""
    n, owner = len(stage.sample), stage.sample.owner
    paged, scored = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    paged[owner[served.position != played.position]] = True
    scored[owner[~np.isclose(served.score, played.score, rtol=1e-9, atol=1e-12, equal_nan=True)]] = True
    return scored | paged, paged


def _per_request(pair: Pair, whole: Gain) -> Floats:
    """By how much each request gains."""
    sign = np.sign(whole.better * whole.change) or 1.0

    def values(parts: PerRequest) -> Floats:
        return np.divide(parts.numerator, parts.denominator, out=np.zeros(len(parts.numerator)), where=parts.denominator > 0)

    return np.asarray(sign * (values(pair.fixed) - values(pair.served)), dtype=np.float64)


def _share(scene: Scene, part: Mask, whole: Mask) -> float:
    weight = scene.sample.weight
    total = float(weight[whole].sum())
    return float(weight[part & whole].sum()) / total if total else 0.0


def _there(scene: Scene, environment: str) -> Mask:
    codes, names = scene.sample.words("environment")
    return scene.sample.incident & (codes == names.index(environment) if environment in names else True)


def _latency(acted: Acted, hit: Mask) -> Latency:
    """Scoring is timed one request at a time, as serving does it; what the log says of latency is beside it."""
    sample, stage = acted.scene.sample, acted.scene.stage
    rows = np.flatnonzero(hit & acted.world.replayed & (acted.scene.world.model >= 0))
    logged = sample.numbers("latency_ms", "requests")
    pinned = np.zeros(len(sample), dtype=np.bool_)
    moved = acted.world.model != acted.scene.world.model
    if moved.any():
        pinned = (acted.scene.world.model == acted.world.model[moved][0]) & ~hit
    served = acted.scene.world
    timed = (
        (_timed(stage, served, served.columns, rows), _timed(stage, acted.world, acted.world.columns, rows)) if len(rows) else (np.nan,) * 2
    )
    return Latency(*timed, _median(logged[hit]), _median(logged[pinned]))


def _timed(stage: Stage, world: World, columns: Any, rows: Any) -> float:
    models, offsets, took = list(stage.models.values()), stage.sample.batch.offsets, []
    for row in rows[:: max(1, len(rows) // _TIMED)][:_TIMED]:
        mine = np.zeros(len(stage.sample.owner), dtype=np.bool_)
        mine[offsets[row] : offsets[row + 1]] = True
        mine &= ~world.absent
        if not mine.any() or world.model[row] < 0:
            continue
        one, groups = columns.take(mine), np.array([int(mine.sum())])
        began = time.perf_counter()
        score(models[world.model[row]], one, groups)
        took.append((time.perf_counter() - began) * 1000)
    return float(np.median(took)) if took else float("nan")


def _median(values: Floats) -> float:
    held = values[np.isfinite(values)]
    return float(np.median(held)) if len(held) else float("nan")


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
