"""Questions that take a while, answered in threads: watched, cancelled, and never left running when nobody watches. No Streamlit."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from diagnosis.localize import Cancelled

AT_ONCE = 2  # questions that are worked on at a time; others wait
MOST = 32  # answers that are kept
UNWATCHED_S = 120.0  # after which a question that nobody looks at is given up; a hidden tab asks once a minute

A = TypeVar("A")  # what is answered
Ask = Callable[[Callable[[str, float, "A | None"], None], Callable[[], bool]], A]


@dataclass(eq=False)
class Run(Generic[A]):
    """A question being answered.

    Attributes
    ----------
    text, share
        What is being done, and the share that is done.
    first : A or None
        A provisional answer, once there is one.
    answer : A or None
    error : Exception or None
        Why there will be no answer.
    """

    text: str = "waiting for its turn"
    share: float = 0.0
    first: A | None = None
    answer: A | None = None
    error: Exception | None = None
    began: float = field(default_factory=time.monotonic)
    _watched: float = field(default_factory=time.monotonic)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self.answer is not None or self.error is not None

    @property
    def elapsed_s(self) -> float:
        """Since it was asked."""
        return time.monotonic() - self.began

    def watch(self) -> None:
        """Say that somebody still looks."""
        self._watched = time.monotonic()

    def cancel(self) -> None:
        """Stop it at its next step."""
        self._stopped.set()

    def join(self, seconds: float) -> bool:
        """Wait for its end; whether it has ended."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def given_up(self) -> bool:
        """Whether it was cancelled, or nobody looks any more."""
        return self._stopped.is_set() or time.monotonic() - self._watched > UNWATCHED_S

    def tell(self, text: str, share: float, answer: A | None) -> None:
        """What the question reports."""
        self.text, self.share = text, share
        self.first = answer or self.first


class Runs(Generic[A]):
    """Runs by session, and answers for everybody."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turn = threading.Semaphore(AT_ONCE)
        self._runs: dict[str, tuple[Hashable, Run[A]]] = {}
        self._answers: OrderedDict[Hashable, A] = OrderedDict()

    def of(self, session: str, question: Hashable, ask: Ask[A]) -> Run[A]:
        """The run of that question, begun if need be; a session has one, so what it asked before is stopped."""
        with self._lock:
            held, run = self._runs.get(session, (None, None))
            if run is not None and held == question and not run.given_up():
                run.watch()
                return run
            if run is not None:
                run.cancel()
            run = Run[A]()
            self._runs[session] = (question, run)
            for gone in [key for key, (_, other) in self._runs.items() if other.given_up() or (other.done and len(self._runs) > MOST)]:
                del self._runs[gone]
            if question in self._answers:
                self._answers.move_to_end(question)
                run.answer = self._answers[question]
                return run
        run._thread = threading.Thread(target=self._work, args=(run, question, ask), daemon=True, name="localize")
        run._thread.start()
        return run

    def forget(self, session: str) -> None:
        """Stop what a session asked."""
        with self._lock:
            _, run = self._runs.pop(session, (None, None))
        if run is not None:
            run.cancel()

    def _work(self, run: Run[A], question: Hashable, ask: Ask[A]) -> None:
        while not self._turn.acquire(timeout=0.2):
            if run.given_up():
                run.error = Cancelled()
                return
        try:
            if run.given_up():
                raise Cancelled
            answer = ask(run.tell, run.given_up)
            with self._lock:
                self._answers[question] = answer
                while len(self._answers) > MOST:
                    self._answers.popitem(last=False)
            run.answer = answer
        except Exception as error:  # the screen tells it, as it tells those of any other question
            run.error = error
        finally:
            self._turn.release()
