"""An incident of a day on which little else happened."""

from datetime import UTC, datetime

from diagnosis.detect.incidents import Incident
from diagnosis.localize.windows import Window


def at(hour):
    return datetime(2026, 11, 2, hour, tzinfo=UTC)


def made(**changed):
    facts = {
        "key": "ctr-1",
        "kind": "metric",
        "symptom": "outcomes",
        "metric": "ctr",
        "where": "device=tv",
        "since": at(3),
        "detected_at": at(6),
        "seen_at": at(5),
        "sentence": "ctr fell.",
        "baseline": Window(at(0), at(3)),
    }
    return Incident(**{**facts, **changed})
