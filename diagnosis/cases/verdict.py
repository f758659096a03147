"""What is known about one request, from its replay and its input checks."""

from __future__ import annotations

from dataclasses import dataclass

from diagnosis.inputs import Checks
from diagnosis.reproduce import Replay


@dataclass(frozen=True)
class Verdict:
    """What is known about a request.

    Attributes
    ----------
    sentence : str
    tone : str
        ``good``: reproduced, and all that could be checked holds. ``bad``: something is wrong. ``unknown``: it cannot be said.
    replay, inputs : str
        The tone of each part.
    """

    sentence: str
    tone: str
    replay: str
    inputs: str


def verdict_on(replay: Replay, checks: Checks) -> Verdict:
    """Sum up. What cannot be said of one part does not hide what is wrong with the other."""
    if replay.verdict == "not_replayable":
        reproduced = "unknown"
    elif replay.verdict == "different_scores" or replay.first_stage is not None:
        reproduced = "bad"
    else:
        reproduced = "good"
    valid = "bad" if len(checks.failed) else "good" if checks.done else "unknown"
    tone = "bad" if "bad" in (reproduced, valid) else "unknown" if reproduced == "unknown" else "good"
    return Verdict(f"{replay.sentence} {checks.sentence}", tone, reproduced, valid)
