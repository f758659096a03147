"""The ML Test Score of a workspace: what holds as measured, what is missing, what nobody can tell from here.

After Breck, Cai, Nielsen, Salib and Sculley, "The ML Test Score: A Rubric for ML Production Readiness and Technical Debt Reduction", IEEE
Big Data 2017: four sections of seven tests, half a point for a test that was made by hand, one where it is made again by itself; the score
is that of the weakest section. Nothing is counted that was not measured here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diagnosis.detect.readiness import data, infrastructure, model, monitoring
from diagnosis.detect.readiness.evidence import HOLDS, Answer, Evidence, cannot_tell
from diagnosis.errors import DiagnosisError
from diagnosis.reproduce import Workbench

Test = Callable[[Evidence], Answer]
SECTIONS: dict[str, tuple[tuple[str, Test], ...]] = {
    "data": (
        ("Feature expectations are captured in a schema", data.schema),
        ("All features are beneficial", data.beneficial),
        ("No feature's cost is too much", data.cost),
        ("Features adhere to meta-level requirements", data.requirements),
        ("The data pipeline has appropriate privacy controls", data.privacy),
        ("New features can be added quickly", data.quickly),
        ("All input feature code is tested", data.tested),
    ),
    "model": (
        ("Model specs are reviewed and submitted", model.reviewed),
        ("Offline and online metrics correlate", model.correlated),
        ("All hyperparameters have been tuned", model.tuned),
        ("The impact of model staleness is known", model.staleness),
        ("A simpler model is not better", model.simpler),
        ("Model quality is sufficient on important data slices", model.slices),
        ("The model is tested for considerations of inclusion", model.inclusion),
    ),
    "infrastructure": (
        ("Training is reproducible", infrastructure.reproducible),
        ("Model specs are unit tested", infrastructure.specs),
        ("The ML pipeline is integration tested", infrastructure.integrated),
        ("Model quality is validated before serving", infrastructure.validated),
        ("The model is debuggable", infrastructure.debuggable),
        ("Models are canaried before serving", infrastructure.canaried),
        ("Serving models can be rolled back", infrastructure.rolled_back),
    ),
    "monitoring": (
        ("Dependency changes result in notification", monitoring.notified),
        ("Data invariants hold for inputs", monitoring.invariants),
        ("Training and serving are not skewed", monitoring.skewed),
        ("Models are not too stale", monitoring.stale),
        ("Models are numerically stable", monitoring.stable),
        ("Computing performance has not regressed", monitoring.performance),
        ("Prediction quality has not regressed", monitoring.quality),
    ),
}
_WORDS = (  # of a score up to so much
    (0.0, "closer to research than to production"),
    (1.0, "not untested, but serious holes are likely"),
    (2.0, "a first pass at production"),
    (3.0, "reasonably tested, with more to automate"),
    (5.0, "strongly tested and watched, fit for what is critical"),
    (7.0, "exceptionally tested and watched"),
)


@dataclass(frozen=True)
class Line:
    """One of the 28 tests; ``points`` is 0, 0.5 or 1."""

    section: str
    number: int
    test: str
    answer: str
    points: float
    found: str
    to_do: str


@dataclass(frozen=True)
class Readiness:
    """All of them.

    Attributes
    ----------
    watched : bool
        Whether scheduled detection has run here: without it no test counts as automated.
    """

    lines: tuple[Line, ...]
    watched: bool

    @property
    def points(self) -> dict[str, float]:
        """Sum of the points of each section."""
        return {section: sum(line.points for line in self.lines if line.section == section) for section in SECTIONS}

    @property
    def score(self) -> float:
        """That of the weakest section."""
        return min(self.points.values())

    @property
    def sentence(self) -> str:
        """The score in the words of the paper, and which section holds it down."""
        counts = {answer: sum(line.answer == answer for line in self.lines) for answer in ("holds", "missing", "cannot_tell")}
        weakest = [name for name, points in self.points.items() if points == self.score]
        words = next(text for most, text in _WORDS if self.score <= most)
        return (
            f"ML Test Score {self.score:g}, held down by {' and '.join(weakest)}: {words}. As measured, of 28 tests {counts['holds']} "
            f"hold; {counts['missing']} do not or lack something, and {counts['cannot_tell']} cannot be told from here."
        )

    def as_json(self) -> dict[str, Any]:
        """The document of ``check --ml-test-score --json``."""
        return {
            "score": self.score,
            "points": self.points,
            "watched": self.watched,
            "sentence": self.sentence,
            "tests": [vars(line) for line in self.lines],
        }


def readiness(workbench: Workbench) -> Readiness:
    """Measure every test; one that cannot be made is told with the reason, and the others go on.

    A point of one half stands for a test that this call makes; a whole point for one that scheduled detection makes as well.
    """
    watched = any((workbench.workspace.path / "detect").glob("*"))
    seen = Evidence(workbench, watched, bool(workbench.workspace.settings.delivery.webhook))
    lines = []
    for section, tests in SECTIONS.items():
        for number, (name, test) in enumerate(tests, 1):
            answer = _asked(test, seen)
            points = 0.0 if answer.answer != HOLDS else 1.0 if answer.repeated and watched else 0.5
            lines.append(Line(section, number, name, answer.answer, points, answer.found, answer.to_do))
    return Readiness(tuple(lines), watched)


def _asked(test: Test, seen: Evidence) -> Answer:
    try:
        return test(seen)
    except DiagnosisError as error:
        return cannot_tell(error.message.rstrip("."), error.hint.rstrip("."))
    except ValueError as error:
        return cannot_tell(str(error).rstrip("."))
