"""An incident as a message: Slack's JSON and Markdown, with a link that opens it already localized.

Whatever comes from a log is untrusted: it can name nobody, link nowhere and format nothing.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any
from urllib.parse import urlencode

from diagnosis.detect.causes import who_acts
from diagnosis.detect.incidents import Incident
from diagnosis.errors import NotFoundError
from diagnosis.localize.windows import iso
from diagnosis.metrics import metric

_MOST = 400  # characters of one text of a log
_APART = "\u200b"  # parts what a reader would take for a link or a mention
_LINKS = re.compile(r"://|(?i:www)\.|@|(?i:mailto|javascript|data|file|tel):")
_MARKDOWN = re.compile(r"([\\`*_\[\]!|<>~&]|^[#+=\-])")
_NUMBERED = re.compile(r"^(\d+)([.)])")
_ASKED = ("metric", "objective", "watch")


def link(incident: Incident, workspace: str, base_url: str) -> str:
    """Where the workbench shows it: the Incident screen with windows and metric, localized; else the list of incidents.

    Of what changed upstream, the same windows with all features that differ.
    """
    if incident.baseline is None or incident.window is None:
        return f"{base_url}/incidents?{urlencode({'w': workspace})}"
    name, where = incident.asked
    asked = {"w": workspace, "baseline": str(incident.baseline), "incident": str(incident.window)}
    if incident.kind in _ASKED and (incident.verdict or _known(name)):
        asked |= {"metric": name, "asked": "1"}
    if where:
        asked["where"] = where
    return f"{base_url}/incident?{urlencode(asked)}"


def _known(name: str) -> bool:
    """Whether the localizer knows a metric of that name without asking the workspace."""
    try:
        return bool(metric(name))
    except (NotFoundError, ValueError):
        return False


def slack(incident: Incident, workspace: str, title: str, base_url: str) -> dict[str, Any]:
    """The body of an incoming webhook of Slack: blocks of plain text, a button, and a text for what shows no blocks."""
    where = link(incident, workspace, base_url)
    facts = [f"{name}: {value}" for name, value in facts_of(incident)]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain_text(cleaned(f"{title}: {incident.metric}", 140))},
        {"type": "section", "text": _plain_text(cleaned(incident.sentence, 2000))},
        {"type": "context", "elements": [_plain_text(cleaned(fact)) for fact in facts[:10]]},
    ]
    if base_url:
        button = {"type": "button", "text": _plain_text("Open in the workbench"), "url": where}
        blocks.append({"type": "actions", "elements": [button]})
    lines = [neutral(f"{title}: {incident.sentence}"), *(neutral(fact) for fact in facts), where if base_url else neutral(where)]
    return {"text": "\n".join(lines), "mrkdwn": False, "parse": "none", "link_names": False, "unfurl_links": False, "blocks": blocks}


def markdown(incident: Incident, *, workspace: str = "", base_url: str = "") -> str:
    """The incident as Markdown (CommonMark): a sentence, a list of facts, a link where there is a workbench to link to."""
    lines = [f"**{escaped(incident.sentence)}**", ""]
    lines += [f"- {name}: {escaped(value)}" for name, value in facts_of(incident)]
    lines += [f"- {escaped(text)}" for text in incident.evidence[:8]]
    if base_url:
        lines += ["", f"[Open in the workbench]({link(incident, workspace, base_url)})"]
    return "\n".join(lines) + "\n"


def facts_of(incident: Incident) -> list[tuple[str, str]]:
    """What everybody asks first: names of ours, values that may come from a log."""
    facts = [("since", iso(incident.since)), ("where", incident.place)]
    if incident.task:
        facts.append(("task", f"{incident.task} ({incident.phase})"))
    if incident.cause and incident.cause.get("target"):
        facts.append(("likely cause", f"{incident.cause.get('component', '')} {incident.cause['target']}".strip()))
    elif incident.verdict:
        facts.append(("verdict", incident.verdict))
    return [*facts, ("who acts", who_acts(incident)), ("kind", f"{incident.kind}, {incident.symptom}")]


def cleaned(text: str, most: int = _MOST) -> str:
    """One line without control and format characters, of limited length."""
    line = "".join(c if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029" else " " for c in str(text)).strip()
    return line if len(line) <= most else line[: most - 1] + "…"


def neutral(text: str) -> str:
    """For a text that Slack, or what imitates it, may read as markup.

    >>> neutral("<!channel> [x](javascript:y) `z`")
    "&lt;!channel&gt; [x] (javascript:\u200by) 'z'"
    """
    line = _LINKS.sub(lambda found: found[0] + _APART, cleaned(text))
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return line.replace("`", "'").replace("*", "∗").replace("~", "∼").replace("](", "] (")


def escaped(text: str) -> str:
    """For Markdown: every character that could be markup stands for itself.

    >>> escaped("[x](y) *z*"), escaped("# a-b")
    ('\\\\[x\\\\](y) \\\\*z\\\\*', '\\\\# a-b')
    """
    line = _NUMBERED.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\1", cleaned(text)))
    return _LINKS.sub(lambda found: found[0] + _APART, line)


def _plain_text(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text or "–", "emoji": False}
