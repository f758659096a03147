"""Business rules that do what nobody meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sample_data.incidents.way import ANY, Part, Way, served
from sample_data.rulesets import USUAL
from sample_data.serve import Hidden
from sample_data.twins import Twin
from sample_data.world import COUNTRIES

BROKEN = (
    ("originals_boost", replace(USUAL, version="2026-10-c", boost_on="long", boost=1.6), "boost for originals reworked"),
    ("originals_boost", replace(USUAL, version="2026-10-c", boost_on="mature", boost=1.4), "boost for originals reworked"),
    ("genre_cap", replace(USUAL, version="2026-10-c", cap_by="language", cap=3), "cap made configurable"),
    ("editors_pin", replace(USUAL, version="2026-10-c", pin_on="original", pin=1), "picks of the editors move up"),
)


def rule_bug(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """A new ruleset, one rule of which hits the wrong attribute."""
    for place in rng.permutation(len(BROKEN)):
        rule, rules, note = BROKEN[place]
        files = replace(twin.log.files, rulesets=(*twin.log.files.rulesets, rules))

        def edit(twin: Twin, part: Part) -> Part:
            return replace(part, plan=replace(part.plan, ruleset=np.full_like(part.plan.ruleset, 2)))

        change = ("ruleset", "homepage", USUAL.version, rules.version, note)
        yield Way("rules", rule, {"task": ["homepage"]}, served(edit, files), change, ANY, files=files)


def inverted_sort(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """One locale sorts the worst first."""

    def edit(twin: Twin, part: Part) -> Part:
        return replace(part, hidden=Hidden(ascending=True))

    for country in rng.permutation(COUNTRIES[1:]):
        change = ("code", "page-builder", "p7", "p8", "sorting by locale")
        yield Way("rules", "sort", {"country": [str(country)]}, served(edit), change, ("device", "app_version", "task"))
