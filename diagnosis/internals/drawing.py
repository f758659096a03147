"""One tree around the ways of one or two candidates, as a small graph: tens of nodes, whatever its size.

What hangs beside the ways is folded into one node each, with its leaves and training rows counted; the middle of a very long way into
one node too.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import NotFoundError
from diagnosis.internals.ensemble import Ensemble
from diagnosis.internals.paths import NO_UNITS, ensemble_of, row_of, split_of
from diagnosis.internals.ways import decisions, means, way
from diagnosis.models import Feature, Model, encode

STRETCH = 8  # splits of one stretch of a way that are drawn, at most; a drawing has three stretches
_WIDEST = 48  # characters of a line


@dataclass(frozen=True)
class Node:
    """A place in a drawing.

    Attributes
    ----------
    kind : str
        ``split``, ``leaf``, ``folded`` (a part of the tree that no candidate comes to) or ``skipped`` (splits of a way left out).
    at : int
        Number of the split or leaf among the tree's own; of what is folded its first split, of what is skipped the first one left out.
    text : str
        What is asked, for a split; else what is there. May hold text of the log.
    value : float
        Of a leaf what it adds to the raw score, else the mean of the training rows' leaves.
    rows : float
        Training rows that came here.
    items : tuple of str
        Candidates that come here.
    """

    name: str
    kind: str
    at: int
    text: str
    value: float
    rows: float
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edge:
    """A turn from one node to another; `text` is ``yes``, ``no`` or empty, with ``missing`` where missing values go."""

    above: str
    below: str
    text: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawing:
    """A tree, or what is drawn of it.

    Attributes
    ----------
    items : tuple of str
        Candidates whose ways are drawn, at most two.
    folded : int
        Leaves that are not drawn one by one.
    """

    tree: int
    items: tuple[str, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    folded: int

    @property
    def dot(self) -> str:
        """The drawing in the DOT language, every label escaped."""
        rows = [f"{n.name} [{_look(n, self.items)}, label={quoted(_label(n, self.items))}]" for n in self.nodes]
        rows += [f"{e.above} -> {e.below} [{_line(e, self.items)}, label={quoted(e.text)}]" for e in self.edges]
        head = (
            'ordering=out; bgcolor=white; node [shape=box, fontname="sans-serif", fontsize=11]; edge [fontname="sans-serif", fontsize=10]'
        )
        return "\n".join(["digraph tree {", head, *rows, "}"])

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        nodes, edges = ([{**vars(x), "items": list(x.items)} for x in xs] for xs in (self.nodes, self.edges))
        return {"tree": self.tree, "items": list(self.items), "nodes": nodes, "edges": edges, "folded": self.folded}


def draw(model: Model, tree: int, features: pd.DataFrame, items: Sequence[str], *, units: Mapping[str, str] = NO_UNITS) -> Drawing:
    """One tree around the ways of one or two candidates.

    Parameters
    ----------
    features : pandas.DataFrame
        What the model was given, index ``item_id``: `Contributions.features`.
    items : sequence of str
        One or two candidates.
    units : mapping of str to str, optional
        Unit of a feature, for the words.

    Raises
    ------
    NotFoundError
        If there is no such tree or candidate.
    CannotSayError
        If the model has no trees that can be read.
    """
    if not 1 <= len(items) <= 2:
        raise ValueError(f"a drawing shows one or two candidates, not {len(items)}.")
    ensemble = ensemble_of(model)
    if not 0 <= tree < ensemble.trees:
        raise NotFoundError("tree", str(tree), hint=f"the model has trees 0 to {ensemble.trees - 1}.")
    rows = encode(model.bundle, pd.concat([row_of(features, item) for item in items]))
    ways = [way(ensemble, tree, decisions(ensemble, row)) for row in rows]
    sketch = _Sketch(ensemble, tree, model.bundle.features, units, dict(zip(items, ways, strict=True)))
    return Drawing(tree, tuple(items), *sketch.made())


class _Sketch:
    """A drawing in the making."""

    def __init__(
        self,
        ensemble: Ensemble,
        tree: int,
        features: tuple[Feature, ...],
        units: Mapping[str, str],
        ways: dict[str, tuple[list[int], int]],
    ) -> None:
        self.ensemble, self.features, self.units, self.ways = ensemble, features, units, ways
        self.start, self.leaf = int(ensemble.first_split[tree]), int(ensemble.first_leaf[tree])
        self.mean = means(ensemble)[self.start : ensemble.first_split[tree + 1]]
        self.size = _leaves_below(ensemble, tree)
        self.drawn = _kept([met for met, _ in ways.values()])
        self.nodes: dict[str, Node] = {}
        self.edges: dict[tuple[str, str], Edge] = {}

    def made(self) -> tuple[tuple[Node, ...], tuple[Edge, ...], int]:
        for met, leaf in self.ways.values():
            for place, split in enumerate(met):
                if split in self.drawn:
                    self._split(split)
                elif met[place - 1] in self.drawn:  # first and last splits of a way always are
                    self._skipped(met, place)
            if not met:
                self._end(-1 - leaf)
        leaves = {n.at for n in self.nodes.values() if n.kind == "leaf"}
        return tuple(self.nodes.values()), tuple(self.edges.values()), int(self.size[0] if len(self.size) else 1) - len(leaves)

    def _split(self, split: int) -> None:
        name, at = f"s{split}", self.start + split
        if name in self.nodes:
            return
        asked = split_of(self.ensemble, self.features, at, split, self.units)
        self.nodes[name] = Node(name, "split", split, asked.question, float(self.mean[split]), asked.rows, self._through(split))
        for side, word in ((self.ensemble.left, "yes"), (self.ensemble.right, "no")):
            child = int(side[at])
            lost = asked.missing == ("left" if word == "yes" else "right")
            below = self._child(child)
            self.edges[name, below] = Edge(name, below, f"{word}, missing" if lost else word, self._through(child))

    def _child(self, child: int) -> str:
        """Name of what stands below a split, drawn if it is no split of its own."""
        if child < 0:
            return self._end(child)
        if child in self.drawn:
            return f"s{child}"
        if self._through(child):
            return f"m{child}"
        name, count = f"f{child}", int(self.size[child])
        rows = float(self.ensemble.split_count[self.start + child])
        self.nodes[name] = Node(name, "folded", child, f"{count:,} leaves", float(self.mean[child]), rows)
        return name

    def _end(self, child: int) -> str:
        leaf = -1 - child
        name, at = f"l{leaf}", self.leaf + leaf
        value, rows = float(self.ensemble.leaf_value[at]), float(self.ensemble.leaf_count[at])
        self.nodes[name] = Node(name, "leaf", leaf, f"leaf {leaf}", value, rows, self._through(child))
        return name

    def _skipped(self, met: list[int], place: int) -> None:
        """One node for the splits of a way from `place` until the next one that is drawn."""
        stop = next(i for i in range(place, len(met)) if met[i] in self.drawn)
        first, name = met[place], f"m{met[place]}"
        rows = float(self.ensemble.split_count[self.start + first])
        items = self._through(first)
        self.nodes[name] = Node(name, "skipped", first, f"{stop - place} more splits", float(self.mean[first]), rows, items)
        below = f"s{met[stop]}"
        self.edges[name, below] = Edge(name, below, "", items)

    def _through(self, child: int) -> tuple[str, ...]:
        """Candidates whose ways come to a split, or to a leaf (negative)."""
        return tuple(item for item, (met, leaf) in self.ways.items() if (leaf == -1 - child if child < 0 else child in met))


def quoted(text: str) -> str:
    """Text of any source as a quoted string of the DOT language, on lines of its own; it can neither end the string nor mark it up.

    >>> print(quoted('a "b" \\\\N'))
    "a \\"b\\" \\\\N"
    """
    clean = "".join(c if c == "\n" or unicodedata.category(c)[0] != "C" else " " for c in text)
    escaped = clean.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;").replace("\n", "\\n")
    return f'"{escaped}"'


def _kept(ways: list[list[int]]) -> set[int]:
    """Splits to draw: of what two ways share, and of each one's own rest, the first and last ones."""
    shared = 0
    if len(ways) == 2:
        alike = [a == b for a, b in zip(*ways, strict=False)]
        shared = alike.index(False) if False in alike else len(alike)
    kept: set[int] = set()
    for stretch in (ways[0][:shared], *(met[shared:] for met in ways)):
        # Leaving out one split saves nothing.
        inside = stretch if len(stretch) <= STRETCH + 1 else stretch[: STRETCH // 2] + stretch[-(STRETCH // 2) :]
        kept.update(inside)
    return kept


def _leaves_below(ensemble: Ensemble, tree: int) -> NDArray[np.int64]:
    splits = slice(ensemble.first_split[tree], ensemble.first_split[tree + 1])
    left, right = ensemble.left[splits].tolist(), ensemble.right[splits].tolist()
    count, waiting = np.zeros(len(left), dtype=np.int64), [0] if left else []
    while waiting:
        at = waiting[-1]
        todo = [c for c in (left[at], right[at]) if c >= 0 and not count[c]]
        if todo:
            waiting += todo
        else:
            count[at] = sum(1 if c < 0 else int(count[c]) for c in (left[at], right[at]))
            waiting.pop()
    return count


def _label(node: Node, items: tuple[str, ...]) -> str:
    lines = [_cut(node.text), f"{node.value:+.3g} · {node.rows:,.0f} rows"]
    return "\n".join([*lines, *(_cut(item) for item in node.items)] if node.kind == "leaf" and items else lines)


def _look(node: Node, items: tuple[str, ...]) -> str:
    shape = {"split": "box", "leaf": "ellipse", "folded": "note", "skipped": "plaintext"}[node.kind]
    return f'shape={shape}, color="{_colour(node.items, items)}", penwidth={2 if node.items else 1}'


def _line(edge: Edge, items: tuple[str, ...]) -> str:
    return f'color="{_colour(edge.items, items)}", penwidth={2 if edge.items else 1}'


def _colour(on: tuple[str, ...], items: tuple[str, ...]) -> str:
    """Blue the first candidate, orange the second, dark both, grey none; told apart by most who do not see all colours."""
    if not on:
        return "#999999"
    if len(on) == len(items) == 2:
        return "#333333"
    return "#0072b2" if on[0] == items[0] else "#d55e00"


def _cut(text: str) -> str:
    """One line of a label."""
    text = text.replace("\n", " ")
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
