"""`diagnosis sample`: write a simulated workspace."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from diagnosis.errors import WorkspaceError
from sample_data.kinds import KINDS


def sample(
    workspace: Annotated[Path, typer.Argument(help="Folder to write; must be empty or absent.")],
    incident: Annotated[str, typer.Option(help=f"What goes wrong: one of {', '.join(KINDS)}.")] = "clean",
    seed: Annotated[int, typer.Option(help="The same seed gives the same workspace.")] = 7,
    requests: Annotated[int, typer.Option(help="About how many requests the log keeps.")] = 20_000,
    days: Annotated[int, typer.Option(help="How many days the log covers.")] = 14,
    visible: Annotated[bool, typer.Option("--visible", help="Strong enough to be seen in the click rate itself.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document: workspace, truth, requests, elapsed_s.")] = False,
) -> None:
    """Write a workspace of the simulated streaming service, and its truth beside it."""
    from sample_data.build import simulate
    from sample_data.write import write_workspace

    if workspace.exists() and any(workspace.iterdir()):
        raise WorkspaceError(f"{str(workspace)!r} is not empty.", "choose a new folder, or remove this one first.")
    began = time.perf_counter()

    def progress(text: str) -> None:
        print(f"  {time.perf_counter() - began:5.1f} s  {text}", file=sys.stderr, flush=True)

    progress(f"simulating {requests} requests over {days} days")
    simulation = simulate(kind=incident, seed=seed, requests=requests, days=days, visible=visible)
    write_workspace(workspace, simulation, progress)
    truth = workspace.with_name(workspace.name + ".truth.json")
    elapsed = time.perf_counter() - began
    progress("done")
    if as_json:
        print(
            json.dumps(
                {"workspace": str(workspace), "truth": str(truth), "requests": len(simulation.log.traffic), "elapsed_s": round(elapsed, 2)}
            )
        )
    else:
        print(f"Wrote {len(simulation.log.traffic)} requests; what is wrong with them stands beside the folder, in *.truth.json.")
