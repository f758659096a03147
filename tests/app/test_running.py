"""Questions that are answered in threads."""

import threading

import pytest

from app import running
from app.running import Runs
from diagnosis.localize import Cancelled


def waiting(started, cancelled_seen):
    """A question that goes on until it is cancelled."""

    def ask(tell, cancelled):
        started.set()
        while not cancelled():
            pass
        cancelled_seen.set()
        raise Cancelled

    return ask


def test_an_answer_is_kept_for_every_session():
    runs, asked = Runs(), []

    def ask(tell, cancelled):
        asked.append(1)
        return "answer"

    assert runs.of("one", "q", ask).join(5)
    assert runs.of("one", "q", ask).answer == "answer"
    assert runs.of("two", "q", ask).answer == "answer"
    assert asked == [1]


@pytest.mark.parametrize("how", ["forget", "another question", "nobody looks"])
def test_nothing_is_left_running(how, monkeypatch):
    runs, started, stopped = Runs(), threading.Event(), threading.Event()
    run = runs.of("one", "q", waiting(started, stopped))
    assert started.wait(5)
    if how == "forget":
        runs.forget("one")
    elif how == "another question":
        runs.of("one", "other", lambda tell, cancelled: "answer")
    else:
        monkeypatch.setattr(running, "UNWATCHED_S", 0.0)
    assert stopped.wait(5)
    assert run.join(5)
    assert isinstance(run.error, Cancelled)


def test_a_question_that_waits_for_its_turn_can_be_stopped():
    runs = Runs()
    events = [(threading.Event(), threading.Event()) for _ in range(running.AT_ONCE + 1)]
    held = [runs.of(f"s{n}", f"q{n}", waiting(*pair)) for n, pair in enumerate(events)]
    assert all(started.wait(5) for started, _ in events[: running.AT_ONCE])
    assert not events[-1][0].is_set()
    held[-1].cancel()
    assert held[-1].join(5)
    for run in held:
        run.cancel()
        assert run.join(5)
    assert not events[-1][0].is_set()


def test_progress_keeps_the_first_ranking():
    runs = Runs()

    def ask(tell, cancelled):
        tell("first ranking", 0.2, "first")
        tell("replaying", 0.6, None)
        raise ValueError("no")

    run = runs.of("one", "q", ask)
    assert run.join(5)
    assert (run.text, run.share, run.first, str(run.error)) == ("replaying", 0.6, "first", "no")


def test_answers_are_bounded(monkeypatch):
    monkeypatch.setattr(running, "MOST", 2)
    runs, asked = Runs(), []
    for question in ("a", "b", "c", "a"):

        def ask(tell, cancelled, question=question):
            asked.append(question)
            return question

        assert runs.of("one", question, ask).join(5)
    assert asked == ["a", "b", "c", "a"]
