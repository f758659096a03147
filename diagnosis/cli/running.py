"""`diagnosis demo` and `diagnosis serve`: start the app."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from diagnosis.errors import DiagnosisError

Port = Annotated[int, typer.Option(min=1, max=65535, help="Port of the workbench.")]
Headless = Annotated[bool, typer.Option("--headless", help="Do not open a browser.")]


def demo(
    workspace: Annotated[Path | None, typer.Option(help="Where the sample workspace lies.")] = None,
    port: Port = 8501,
    headless: Headless = False,
) -> None:
    """Build the sample workspace if it is not there yet, and open it."""
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "diagnosis"
    folder = workspace or home / "demo"
    if not (folder / "diagnosis.toml").exists():
        print(f"Building the sample workspace in {folder} (about fifteen seconds) …", file=sys.stderr, flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = folder.with_name(folder.name + ".building")
        _sample(building)
        building.rename(folder)
        building.with_name(building.name + ".truth.json").rename(folder.with_name(folder.name + ".truth.json"))
    serve([folder], port=port, headless=headless)


def serve(
    workspaces: Annotated[list[Path], typer.Argument(metavar="WORKSPACE…", help="Folders of the workspaces.")],
    port: Port = 8501,
    host: Annotated[str, typer.Option(help="Address to bind; everybody who reaches it can read the logs.")] = "127.0.0.1",
    shares_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Also serve shared pages, and nothing else, at this port.")
    ] = None,
    shares_host: Annotated[str, typer.Option(help="Address of the shared pages.")] = "127.0.0.1",
    headless: Headless = False,
) -> None:
    """Open the workbench on one or several workspaces."""
    spec = importlib.util.find_spec("app.launch")
    if spec is None or spec.origin is None:
        raise DiagnosisError("The app is not installed.", "install the whole package.")
    listed = os.pathsep.join(str(path.resolve()) for path in workspaces)
    environment = {**os.environ, "DIAGNOSIS_WORKSPACES": listed}
    launch = [sys.executable, "-m", "app.launch", "--host", host, "--port", str(port), *(["--headless"] if headless else [])]
    children = [subprocess.Popen(launch, env=environment)]
    if shares_port is not None:
        command = [sys.executable, "-m", "diagnosis.cases.serving", "--host", shares_host, "--port", str(shares_port)]
        children.append(subprocess.Popen(command, env=environment))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        children[0].wait()
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
    if children[0].returncode not in (0, -signal.SIGTERM, -signal.SIGINT):
        raise typer.Exit(children[0].returncode if children[0].returncode > 0 else 1)


def _sample(folder: Path) -> None:
    import shutil
    from importlib.metadata import entry_points

    if folder.exists():
        shutil.rmtree(folder)  # an earlier start was interrupted
    point = next(iter(entry_points(group="diagnosis.commands", name="sample")), None)
    if point is None:
        raise DiagnosisError("The sample workspace cannot be built: no `sample` command is installed.", "install the whole package.")
    with contextlib.redirect_stdout(sys.stderr):
        point.load()(folder, incident="unit_change", seed=11, visible=True)
