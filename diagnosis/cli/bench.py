"""`diagnosis bench`: how well the methods do on labelled cases."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from diagnosis.cli.output import Json, document, plain, table

app = typer.Typer(help="How well the methods do on labelled cases.", no_args_is_help=True)


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


@app.command()
def localize(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Workspaces, each with NAME.truth.json beside it.")],
    placebos: Annotated[bool, typer.Option("--placebos", help="Also set every baseline's first half against its second.")] = False,
    most: Annotated[int, typer.Option(min=100, help="At most so many requests of each window are read.")] = 20_000,
    fit: Annotated[Path | None, typer.Option("--fit", help="Fit the confidence on these answers and write its weights here.")] = None,
    as_json: Json = False,
) -> None:
    """Find causes that are known: first and third answer right by kind, false alarms, calibration, seconds.

    JSON: kinds: [{kind, worlds, top1, top3, median_s, p95_s, first_s}], top1, top3, false_alarms, negatives, calibration_error (the
    confidence as it stands), calibration_error_left_out (fitted without the kind that it is asked about), answers: [{kind, name, verdict,
    right, said, seconds}].
    """
    from diagnosis.localize import exam

    graded = []
    for workspace, truth in exam.exam(folder):
        asked = [exam.grade(workspace, truth, most=most)]
        if placebos:
            asked.append(exam.placebo(workspace, truth, most=most))
        for answer in asked:
            graded.append(answer)
            print(
                f"{'ok  ' if answer.first else 'MISS'} {answer.kind:18s} {answer.name:28s} {answer.seconds:5.1f} s  {plain(answer.said)}",
                file=sys.stderr,
            )
    kinds = exam.summary(graded)
    positives = [g for g in graded if not g.negative]
    alarms, negatives = exam.false_alarms(graded)
    shares = [sum(getattr(g, name) for g in positives) / max(len(positives), 1) for name in ("first", "third")]
    errors = exam.as_shipped(graded), exam.left_out(graded)
    if fit is not None:
        fit.write_text(json.dumps(exam.refit(graded), indent=1) + "\n", encoding="utf-8")
    if as_json:
        answers = [
            {"kind": g.kind, "name": g.name, "verdict": g.verdict, "right": g.first, "said": g.said, "seconds": g.seconds} for g in graded
        ]
        document(
            {
                "kinds": kinds.reset_index().to_dict("records"),
                "top1": shares[0],
                "top3": shares[1],
                "false_alarms": alarms,
                "negatives": negatives,
                "calibration_error": errors[0],
                "calibration_error_left_out": errors[1],
                "answers": answers,
            }
        )
        return
    table(kinds.reset_index().itertuples(index=False), ["kind", *kinds.columns])
    print(f"\nFirst answer right {shares[0]:.1%}, among three {shares[1]:.1%} of {len(positives)}; false alarms {alarms} of {negatives}.")
    print(f"Calibration error {errors[0]:.3f}; with each kind left out {errors[1]:.3f}.")
