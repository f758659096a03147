"""What is known about one request."""

import pytest

from diagnosis.cases import verdict_on
from diagnosis.inputs import check_request
from diagnosis.inputs.contracts import Contract
from diagnosis.reproduce import replay
from diagnosis.testing import LinearModel, make_request

FITS, TOO_SMALL = Contract("price", "candidates.price", max=10.0), Contract("price", "candidates.price", max=0.5)


@pytest.mark.parametrize(
    ("score", "status", "contract", "tones"),
    [
        ([1.0, 2.0], "ok", FITS, ("good", "good", "good")),
        ([1.0, 2.0], "ok", None, ("good", "good", "unknown")),
        ([1.0, 2.0], "ok", TOO_SMALL, ("bad", "good", "bad")),
        ([1.0, 9.0], "ok", FITS, ("bad", "bad", "good")),
        ([1.0, 2.0], "fallback", FITS, ("unknown", "unknown", "good")),
        ([1.0, 2.0], "fallback", TOO_SMALL, ("bad", "unknown", "bad")),
    ],
)
def test_what_is_wrong_shows_and_what_cannot_be_said_hides_nothing(score, status, contract, tones):
    request = make_request(score=score, price=[1.0, 2.0], request={"status": status})
    checks = check_request(request, [contract] if contract else [])
    answer = replay(request, LinearModel(price=1.0))
    known = verdict_on(answer, checks)
    assert (known.tone, known.replay, known.inputs) == tones
    assert known.sentence == f"{answer.sentence} {checks.sentence}"
