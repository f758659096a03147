"""`diagnosis bench`: how well the methods do on labelled cases."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from diagnosis.cli.output import Json, document, table

app = typer.Typer(help="How well the methods do on labelled cases.", no_args_is_help=True)


@app.callback()
def _bench() -> None:
    """Keeps `bench` a group while it has one command."""


@app.command()
def slices(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folders of cases, each with a labels.json.")],
    misses: Annotated[bool, typer.Option("--misses", help="Also list the cases whose first answer is not exactly the label.")] = False,
    as_json: Json = False,
) -> None:
    """Find labelled slices: exact set first, within two, within five; elements; processor seconds a case.

    JSON: kinds: [{kind, cases, exact_1, exact_2, exact_5, f1, precision, recall, cpu_s, misses: [{file, rank, found, wanted}]}].
    """
    from diagnosis.localize.slice_bench import bench

    scores = bench(folder)
    if as_json:
        document(
            {
                "kinds": [
                    {
                        "kind": score.kind,
                        "cases": len(score.cases),
                        "exact_1": score.exact(1),
                        "exact_2": score.exact(2),
                        "exact_5": score.exact(5),
                        "f1": score.f1,
                        "precision": score.precision,
                        "recall": score.recall,
                        "cpu_s": score.cpu_s,
                        "misses": [
                            {"file": c.file, "rank": c.rank, "found": _objects(c.found), "wanted": _objects(c.wanted)}
                            for c in score.cases
                            if c.rank != 1
                        ],
                    }
                    for score in scores
                ]
            }
        )
        return
    header = ("kind", "cases", "exact first", "within 2", "within 5", "element F1", "CPU s a case")
    table([(s.kind, len(s.cases), s.exact(1), s.exact(2), s.exact(5), s.f1, s.cpu_s) for s in scores], header)
    if misses:
        print()
        rows = [(s.kind, c.file, c.rank, _words(c.found), _words(c.wanted)) for s in scores for c in s.cases if c.rank != 1]
        table(rows, ("kind", "file", "rank", "found", "wanted"))


def _objects(elements: Iterable[Iterable[tuple[str, str]]]) -> list[dict[str, str]]:
    return sorted((dict(sorted(element)) for element in elements), key=str)


def _words(elements: Iterable[Iterable[tuple[str, str]]]) -> str:
    return " | ".join(sorted(";".join(f"{k}={v}" for k, v in sorted(element)) for element in elements))
