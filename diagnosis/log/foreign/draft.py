"""A first mapping from the data: what the kind knows, what names suggest, and everything else that is there, to be looked over by people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diagnosis.log.foreign.documents import NOTHING, Path, leaves, spelled, walk
from diagnosis.log.foreign.kinds import Kind
from diagnosis.log.foreign.lookup import Document, flat, spread
from diagnosis.log.foreign.values import Unusable, moment

_NAMES = {  # last keys of paths, best first
    "request_id": ("request_id", "requestid", "req_id", "impression_id", "query_id", "session_id", "id"),
    "served_at": ("served_at", "timestamp", "ts", "time", "request_time", "event_time", "created_at", "datetime"),
    "task": ("task", "surface", "placement", "page_type", "use_case"),
    "member": ("member", "member_id", "user_id", "userid", "user", "customer_id", "visitor_id", "account_id"),
    "status": ("status", "status_code"),
    "latency_ms": ("latency_ms", "duration_ms"),
    "keep_probability": ("keep_probability", "sampling_rate", "sample_rate", "sampling_fraction"),
    "item_id": (
        "item_id",
        "itemid",
        "item",
        "items",
        "item_ids",
        "product_id",
        "movie_id",
        "video_id",
        "doc_id",
        "content_id",
        "candidates",
    ),
    "score": ("score", "scores", "prediction", "predictions", "output", "output_0", "logit", "logits"),
    "probability": ("probability", "probabilities"),
    "rank": ("rank", "ranking"),
    "position": ("position", "pos", "slot"),
    "propensity": ("propensity",),
}
_OF_REQUESTS = ("request_id", "served_at", "task", "member", "status", "latency_ms", "keep_probability")
_OURS = (("event", "time_quality"), ("event", "response_time"))
_OUTCOMES = (
    "",
    "# [outcomes]      # what members did, where a log says it: one of its own (kind and source), or the requests themselves",
    '# kind = "plain"',
    '# source = "/data/clicks"',
    '# request_id = "request_id"      # or member = "…": then it is of their last request that showed the item',
    '# item_id = "item"',
    '# event = {value = "click"}      # or a path; with when = "clicked", only where that is true',
    '# happened_at = "clicked_at"',
)
_OF_CANDIDATES = ("item_id", "score", "probability", "rank", "position", "propensity")


@dataclass(frozen=True)
class _Leaf:
    """A path, its first value, and whether it has a list of values in a request."""

    path: Path
    example: Any
    listed: bool


def draft(kind: Kind, documents: Sequence[Document]) -> str:
    """The text of a mapping file. What could not be guessed stands in it as a comment, and reading it says so."""
    found = _leaves(documents)
    chosen = {column: tuple(path.split(".")) for column, path in kind.columns.items() if _there(documents, tuple(path.split(".")))}
    for column, names in _NAMES.items():
        if column not in chosen:
            path = _guess(column, names, [leaf for leaf in found.values() if leaf.path not in chosen.values()])
            chosen |= {column: path} if path else {}
    rows = _rows(chosen, documents)
    taken = set(chosen.values())
    lines = [f"kind = {_text(kind.name)}", f'rows = "{rows}"{" " * 6}# "candidate" where each event is one candidate', ""]
    lines += ["[requests]", *_lines(_OF_REQUESTS + tuple(c for c in kind.columns if c not in _OF_REQUESTS), chosen, found)]
    if rows == "candidate":
        many = {path: _varies(documents, path, chosen.get("request_id")) for path in found}
    else:
        many = {path: leaf.listed and _fits(documents, path, chosen.get("item_id")) for path, leaf in found.items()}
    rest = [leaf for leaf in found.values() if leaf.path not in taken and leaf.path not in _OURS]
    lines += [_line(_column(leaf.path), leaf) for leaf in rest if not many[leaf.path]]
    lines += ["", "[candidates]", *_lines(_OF_CANDIDATES, chosen, found)]
    lines += [_line(_column(leaf.path), leaf) for leaf in rest if many[leaf.path]]
    return "\n".join([*_once(lines), *_OUTCOMES]) + "\n"


def _leaves(documents: Sequence[Document]) -> dict[Path, _Leaf]:
    found: dict[Path, _Leaf] = {}
    for document in documents:
        for path, value in leaves(document):
            have = found.get(path)
            through = isinstance(walk(document, path[:-1]), list)  # a list of mappings, or one list of values
            listed = isinstance(value, list) and (through or len(value) != 1 or isinstance(value[0], list))
            if have is None or (listed and not have.listed) or have.example is None:
                found[path] = _Leaf(path, value, listed or (have is not None and have.listed))
    return found


def _there(documents: Sequence[Document], path: Path) -> bool:
    return any(walk(document, path) not in (NOTHING, None) for document in documents)


def _guess(column: str, names: Sequence[str], found: Sequence[_Leaf]) -> Path | None:
    for name in names:
        for leaf in found:
            if leaf.path[-1].lower() == name and (column != "served_at" or _is_time(leaf.example)):
                return leaf.path
    written = (leaf.path for leaf in found if not isinstance(leaf.example, (int, float, list)) and _is_time(leaf.example))
    return next(written, None) if column == "served_at" else None


def _is_time(value: Any) -> bool:
    try:
        moment(value[0] if isinstance(value, list) and value else value, "UTC")
    except Unusable:
        return False
    return True


def _rows(chosen: Mapping[str, Path], documents: Sequence[Document]) -> str:
    """``candidate`` where ids of requests repeat from event to event."""
    if "request_id" not in chosen:
        return "request"
    ids = [json.dumps(walk(document, chosen["request_id"]), default=str) for document in documents]
    return "candidate" if len(set(ids)) < len(ids) else "request"


def _fits(documents: Sequence[Document], path: Path, items: Path | None) -> bool:
    """Whether it has one value for each item, wherever both are there."""
    for document in documents:
        value, listed = walk(document, path), walk(document, items) if items else NOTHING
        try:
            if value not in (NOTHING, None) and listed not in (NOTHING, None):
                spread(value, len(flat(listed)), "")
        except Unusable:
            return False
    return True


def _varies(documents: Sequence[Document], path: Path, request_id: Path | None) -> bool:
    """Whether events of one request have different values there: then it is one of candidates."""
    seen: dict[str, str] = {}
    for document in documents:
        request = json.dumps(walk(document, request_id) if request_id else None, default=str)
        value = json.dumps(walk(document, path), default=str)
        if seen.setdefault(request, value) != value:
            return True
    return False


def _lines(columns: Sequence[str], chosen: Mapping[str, Path], found: Mapping[Path, _Leaf]) -> list[str]:
    lines = []
    for column in columns:
        if column in chosen:
            leaf = found.get(chosen[column], _Leaf(chosen[column], None, False))
            lines.append(_line(column, leaf))
        elif column == "latency_ms" and _OURS[1] in found and found[_OURS[0]].example == "exact":
            lines.append('latency_ms = {since = "event.time", until = "event.response_time"}')
        elif column == "task":
            lines.append('task = {value = "recommend"}      # a guess: the kind of recommendation asked for')
        elif column in ("request_id", "served_at", "item_id"):
            lines.append(f'# {column} = "…"      # needed; nothing looks like it')
        elif column == "keep_probability":
            lines.append("# keep_probability = {value = 0.1}      # where the log is a sample, and its rate is not in it")
    return lines


def _line(column: str, leaf: _Leaf) -> str:
    dotted = all(part and "." not in part for part in leaf.path)
    path = _text(spelled(leaf.path)) if dotted else "[" + ", ".join(_text(part) for part in leaf.path) + "]"
    example = json.dumps(leaf.example, default=str)
    shown = "".join(c if c.isprintable() else " " for c in example[:60]) + ("…" if len(example) > 60 else "")
    if column == "member":  # the file stays, and who is forgotten is to be nowhere
        return f"{_key(column)} = {path}"
    return f"{_key(column)} = {path}      # {shown}"


def _column(path: Path) -> str:
    """What a value is called as a column: its last key; ages and statuses of a feature store by their marks."""
    name = path[-1]
    return name.removesuffix("__timestamp") + "__at" if name.endswith("__timestamp") else name


def _once(lines: Sequence[str]) -> list[str]:
    """Lines of which a second one of the same column, which TOML refuses, is a comment."""
    made: list[str] = []
    seen: set[str] = set()
    for line in lines:
        key = line.partition(" = ")[0]
        if line.startswith("["):
            seen = set()
        twice = " = " in line and not line.startswith("#") and key.lower() in seen
        seen.add(key.lower())
        made.append(f"# {line}" if twice else line)
    return made


def _text(text: str) -> str:
    """A TOML basic string; JSON's is one, but for DEL, and for halves of surrogate pairs, which TOML cannot say."""
    return json.dumps(text.encode("utf-8", "replace").decode("utf-8"), ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(text: str) -> str:
    return text if text and text.isascii() and text.replace("_", "").replace("-", "").isalnum() else _text(text)
