"""Models that are the wrong ones, or learned the wrong thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from sample_data.chance import pairs, uniform
from sample_data.incidents.way import ANY, Part, Way, served
from sample_data.ranker import CURRENT, NEXT, PARENT, VERSIONS, Lessons, Trained, fit
from sample_data.serve import Hidden
from sample_data.traffic import APP_VERSIONS
from sample_data.twins import Twin
from sample_data.world import DEVICES


def _scored_by(version: str) -> Callable[[Twin, Part], Part]:
    def edit(twin: Twin, part: Part) -> Part:
        return replace(part, plan=replace(part.plan, version=np.full_like(part.plan.version, VERSIONS.index(version))))

    return edit


def model_swap(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """An older version on part of the traffic."""
    yield Way("model", PARENT, {}, served(_scored_by(PARENT)), ("config", "deployment", CURRENT, PARENT, "hosts replaced"), ANY)


def wrong_model(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """The log names one version, another one scored."""

    def edit(twin: Twin, part: Part) -> Part:
        return replace(part, hidden=Hidden(scorer=VERSIONS.index(PARENT)))

    yield Way("serving", PARENT, {}, served(edit), ("config", "model-cache", None, None, "artifacts read from the local disk"), ANY)


def _rollout(trained: Trained, twin: Twin, target: str, note: str) -> Way:
    """The version is rolled out everywhere, or to some environments and arms first."""
    files = replace(twin.log.files, models={**twin.log.files.models, trained.version: trained})
    change = ("model", "streaming-ranker", CURRENT, trained.version, note)
    over = ("environment", "country", "experiments.layout")
    return Way("training_data", target, {}, served(_scored_by(trained.version), files), change, over, told=True, files=files)


def label_bug(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """A new version, trained on labels of which one device's or app version's clicks were lost."""
    lessons = twin.lessons
    options = [*(("device", value) for value in DEVICES), ("app_version", APP_VERSIONS[1])]
    for place in rng.permutation(len(options))[:3]:
        attribute, value = options[place]
        lost = lessons.traffic.attribute(attribute) == value
        luck = uniform(pairs(lessons.traffic.key, lessons.candidates.item), 53)
        clicked = lessons.clicked & ~(lost[:, None] & (luck < 0.99))
        trained = fit(NEXT, replace(lessons, clicked=clicked), parent=CURRENT)
        yield _rollout(trained, twin, value, "retrained, labels from the new event stream")


def leakage(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """A new version, trained with a feature that knew the outcome."""
    for name in rng.permutation(["item_ctr", "member_genre_affinity", "member_recent_share"]):
        trained = fit(NEXT, _leaked(twin.lessons, str(name)), parent=CURRENT)
        yield _rollout(trained, twin, str(name), "retrained, features joined by day")


def _leaked(lessons: Lessons, name: str) -> Lessons:
    """As if the feature were of the evening of the day: the row's own click is in it."""
    held = lessons.candidates.columns[name]
    luck = uniform(pairs(lessons.traffic.key, lessons.candidates.item), 54)
    known = np.nan_to_num(held, nan=0.05) * (1.0 + 0.5 * lessons.clicked * luck)
    return replace(lessons, candidates=lessons.candidates.having(**{name: np.minimum(known, 1.0)}))
