"""The post-mortem of a case: what happened, and the three questions: could it have been detected, predicted, diagnosed sooner?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

import pandas as pd

from diagnosis.cases.pages import Page, Section, _code, _plain
from diagnosis.cases.similar import Similar
from diagnosis.cases.timeline import Story
from diagnosis.cases.watches import Watch
from diagnosis.localize.windows import iso
from diagnosis.resolve.recovery import Recovery

QUESTIONS = ("Could we have detected it sooner?", "Could we have predicted it?", "Could we have diagnosed it sooner?")
_SOON = timedelta(hours=2)


@dataclass(frozen=True)
class Answer:
    """An answer to one of `QUESTIONS`.

    Attributes
    ----------
    check : Watch or None
        A check that would have helped, ready to be added to detection.
    """

    question: str
    text: str
    check: Watch | None = None


@dataclass(frozen=True, eq=False)
class Postmortem:
    """What is known of a case when it is over.

    Attributes
    ----------
    times : tuple of (str, datetime or None)
        Onset, detected, opened, diagnosed, fixed.
    """

    story: Story
    times: tuple[tuple[str, datetime | None], ...]
    answers: tuple[Answer, ...]
    similar: tuple[Similar, ...] = ()
    recovered: tuple[Recovery, ...] = ()

    def delays(self) -> pd.DataFrame:
        """Columns ``step``, ``at`` (text), ``after_onset`` (text)."""
        onset = self.story.onset
        rows = [(name, iso(at.replace(microsecond=0)) if at else "not known", after(at, onset)) for name, at in self.times]
        return pd.DataFrame(rows, columns=["step", "at", "after_onset"])


def postmortem(
    story: Story, watched: list[Watch], *, similar: tuple[Similar, ...] = (), recovered: tuple[Recovery, ...] = ()
) -> Postmortem:
    """The post-mortem of a case, answered from what is known.

    Parameters
    ----------
    watched : list of Watch
        Checks that detection has already.
    """
    times = (
        ("onset", story.onset),
        ("detected", story.detected_at),
        ("case opened", story.case.created_at),
        ("diagnosed", story.diagnosed_at),
        ("fix published", story.fixed_at),
    )
    return Postmortem(story, times, (_detected(story, watched), _predicted(story), _diagnosed(story)), similar, recovered)


def after(at: datetime | None, onset: datetime | None) -> str:
    """How long after the onset, in words."""
    if at is None or onset is None:
        return "–"
    hours = (at - onset) / timedelta(hours=1)
    return f"{hours:+.1f} h" if abs(hours) < 72 else f"{hours / 24:+.1f} days"


def where_of(story: Story) -> str:
    """The cause's slice in the grammar of ``--where``; empty for everything, or where no cause was accepted."""
    known = story.cause.where if story.cause is not None else {}
    return ";".join(f"{k}={','.join('' if v is None else quote(str(v), safe=' :/+-._~()') for v in vs)}" for k, vs in known.items())


def _detected(story: Story, watched: list[Watch]) -> Answer:
    where, metric = where_of(story), story.metric
    check = Watch(f"{metric} {where}".strip(), metric, where, story.case.id) if metric else None
    have = check is not None and any((w.metric, w.where) == (check.metric, check.where) for w in watched)
    offer = None if have else check
    watches = f" Detection watches {metric}{' where ' + where if where else ''} since." if have else ""
    if story.onset is None:
        return Answer(QUESTIONS[0], "When it began is not known, so nobody can say." + watches, offer)
    if story.detected_at is None:
        opened = after(story.case.created_at, story.onset).lstrip("+")
        text = f"Detection did not find it; the case was opened by {story.case.actor}, {opened} after the onset."
        return Answer(
            QUESTIONS[0], text + (f" A check on {metric} for the slice of the cause would look there." if offer else watches), offer
        )
    late, wide = story.detected_at - story.onset, bool(where) and all(not i.where for i in story.found)
    text = f"Detection found it {after(story.detected_at, story.onset).lstrip('+')} after the onset."
    if late <= _SOON:
        return Answer(QUESTIONS[0], f"{text} Sooner would need more requests.{watches}", None)
    if wide:
        return Answer(
            QUESTIONS[0], f"{text} It looked at all requests; the cause is in {where}, where the movement is larger.{watches}", offer
        )
    return Answer(QUESTIONS[0], text + watches, offer)


def _predicted(story: Story) -> Answer:
    cause, onset = story.cause, story.onset
    if cause is None or onset is None:
        return Answer(QUESTIONS[1], "No cause was accepted, so nobody can say.")
    named = cause.change.get("kind")
    change = f"{named} {cause.change.get('target', '')}".strip() if named else ""
    if cause.component in ("model", "training_data"):
        text = "Yes, before it was deployed: `diagnosis rehearse --action pin_model:…` plays a version on logged requests of all tasks."
    elif cause.component == "rules":
        text = "Yes, before it went out: `diagnosis rehearse --action pin_ruleset:…` plays a ruleset on logged requests of all tasks."
    elif cause.component == "candidates" and cause.target == "launches":
        text = "Launches are known ahead: the forecasts of launches say what a new item will do."
    elif change:
        text = (
            f"The change {change} is logged; a dependency that changes is reported before it harms, where its upstream is in `upstreams`."
        )
    else:
        text = "Nothing that is logged comes before it; what is logged in `changes`, `upstreams` and `jobs` could foretell the next."
    return Answer(QUESTIONS[1], text + (f" Nearest change: {change}." if change and "change" not in text else ""))


def _diagnosed(story: Story) -> Answer:
    known = story.detected_at or story.case.created_at
    if story.diagnosed_at is None:
        return Answer(QUESTIONS[2], "No hypothesis was accepted.")
    took = story.diagnosed_at - known
    rejected = sum(h.state == "rejected" for h in story.hypotheses)
    text = f"From {'detection' if story.detected_at else 'the opening of the case'} to the accepted cause it took {_span(took)}."
    if took <= timedelta(minutes=10):
        return Answer(QUESTIONS[2], f"{text} Hardly.")
    hint = "an incident that is localized when it is found brings its cause along" if not story.found else "the incident brought its cause"
    return Answer(QUESTIONS[2], f"{text} {rejected} hypotheses were rejected on the way; {hint}.")


def _span(took: timedelta) -> str:
    minutes = max(took / timedelta(minutes=1), 0.0)
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


# --- as a document ----------------------------------------------------------------------------------------------------------------


def postmortem_page(made: Postmortem, *, workspace: str, members: tuple[str, ...] = ()) -> Page:
    """The post-mortem as a page that stands alone; escaped when it is rendered, without any script."""
    story, case = made.story, made.story.case
    sections = [Section("How long it took", table=made.delays().rename(columns={"after_onset": "after the onset"}))]
    sections += [Section(a.question, a.text + (_offered(a) if a.check else "")) for a in made.answers]
    sections.append(Section("Hypotheses", table=_hypotheses(story)))
    sections.append(Section("Timeline", table=_timeline(story)))
    for seen in made.recovered:
        sections.append(Section("Did the metric come back?", seen.sentence))
    if made.similar:
        rows = [(s.case.title, f"{s.similarity:.2f}", "; ".join(s.shared), "; ".join(s.done) or "–") for s in made.similar]
        sections.append(
            Section("Similar cases", table=pd.DataFrame(rows, columns=["case", "similarity", "both have", "what was done then"]))
        )
    facts = (("workspace", workspace), ("case", case.id), ("status", case.status), ("metric", story.metric or "–"))
    return Page(f"Post-mortem: {case.title}", case.verdict or "No verdict yet.", "unknown", tuple(sections), facts, members)


def postmortem_markdown(made: Postmortem, *, workspace: str) -> str:
    """The post-mortem as Markdown; text from the log and from people cannot be markup in it."""
    story, case = made.story, made.story.case
    lines = [f"# Post-mortem: {_plain(case.title)}", "", _plain(case.verdict or "No verdict yet."), ""]
    lines += [f"- workspace: {_code(workspace)}", f"- case: {_code(case.id)}, {case.status}", f"- metric: {_code(story.metric or '–')}", ""]
    lines += ["## How long it took", "", *_table(made.delays().rename(columns={"after_onset": "after the onset"})), ""]
    for answer in made.answers:
        lines += [f"## {answer.question}", "", _plain(answer.text + (_offered(answer) if answer.check else "")), ""]
    lines += ["## Hypotheses", "", *_table(_hypotheses(story)), "", "## Timeline", "", *_table(_timeline(story)), ""]
    for seen in made.recovered:
        lines += ["## Did the metric come back?", "", _plain(seen.sentence), ""]
    if made.similar:
        lines += ["## Similar cases", ""]
        lines += [f"- {_plain(s.case.title)} ({s.similarity:.2f}): {_plain('; '.join(s.shared))}" for s in made.similar]
    return "\n".join(lines).rstrip() + "\n"


def _offered(answer: Answer) -> str:
    assert answer.check is not None
    return f" Check to add: {answer.check.metric}{' where ' + answer.check.where if answer.check.where else ''}."


def _hypotheses(story: Story) -> pd.DataFrame:
    rows = [(h.state, h.name, h.why, "; ".join(text for _, text in h.evidence) or "–") for h in story.hypotheses]
    return pd.DataFrame(rows, columns=["", "hypothesis", "why", "evidence"])


def _timeline(story: Story) -> pd.DataFrame:
    rows = story.rows()
    at = [iso(t.replace(microsecond=0)) for t in rows["at"]]
    return rows.assign(at=at).rename(columns={"at": "at (UTC)"})


def _table(frame: pd.DataFrame) -> list[str]:
    def cell(value: object) -> str:
        return _plain(str(value)) or "–"

    head = "| " + " | ".join(str(c) for c in frame.columns) + " |"
    rows = ["| " + " | ".join(cell(v) for v in row) + " |" for row in frame.itertuples(index=False)]
    return [head, "|" + "---|" * len(frame.columns), *rows] if rows else ["Nothing."]
