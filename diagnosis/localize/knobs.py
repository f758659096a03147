"""Features that grow old together in one deployment: not the features, a knob of the deployment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from diagnosis.localize.suspects import Evidence, Suspect

_FRESH = re.compile(r"fresh|refresh|stale|max_age|_age|ttl|lag|delay|snapshot|sync|cache", re.IGNORECASE)


def as_knobs(suspects: Sequence[Suspect], environments: Mapping[str, Mapping[str, Any]], changes: pd.DataFrame) -> list[Suspect]:
    """Suspects, where stale features of several upstreams in one environment are the knob that keeps them fresh.

    Parameters
    ----------
    environments : mapping of name to mapping of knob to value
    changes : pandas.DataFrame
        The timeline.
    """
    return [_knob(s, environments, changes) if _together_old(s) else s for s in suspects]


def _together_old(suspect: Suspect) -> bool:
    places = suspect.where.get("environment", [])
    return suspect.component == "feature" and len(places) == 1 and suspect.stale_upstreams >= 2


def _knob(suspect: Suspect, environments: Mapping[str, Mapping[str, Any]], changes: pd.DataFrame) -> Suspect:
    name = str(suspect.where["environment"][0])
    knobs = environments.get(name, {})
    told = {str(t) for t in changes.loc[changes["kind"] == "config", "target"]} if len(changes) else set()
    scores = {}
    for knob, value in knobs.items():
        others = [e[knob] for other, e in environments.items() if other != name and knob in e]
        differs = bool(others) and all(value != o for o in others)
        scores[knob] = 2.0 * (knob in told) + 1.0 * differs + 1.5 * bool(_FRESH.search(knob))
    best = max(scores, key=lambda k: scores[k], default=None)
    if best is None or scores[best] < 1.5:
        return suspect
    text = f"features of several upstreams grow old together in {name}, whose {best} is {knobs[best]}"
    return replace(suspect, component="serving", target=best, evidence=(Evidence("stale", text), *suspect.evidence), owner="", upstream="")
