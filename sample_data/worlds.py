"""Simulated workspaces on disk, built once: what benchmarks measure on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from sample_data.build import simulate
from sample_data.write import write_workspace


@lru_cache(maxsize=1)
def digest() -> str:
    """Of the simulator's own source: another simulator, other worlds."""
    folder = Path(__file__).parent
    made = hashlib.blake2b(digest_size=5)
    for file in sorted(folder.rglob("*.py")):
        if file.stem not in ("worlds", "command", "movielens", "open_bandit"):
            made.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return made.hexdigest()


def world(kind: str, seed: int, folder: Path, requests: int = 40_000, days: int = 14, *, visible: bool = False) -> Path:
    """The workspace of a kind and seed below `folder`, built if it is not there yet.

    Builds share the clean twin of their seed while the process lives; ask for all kinds of one seed before the next seed. Admissions of
    models lie in the state database of whoever builds, so a folder built by somebody else has to be admitted again.

    Raises
    ------
    ValueError
        If there is no such kind of incident.
    """
    path = folder / f"{kind}-{seed}-{requests}-{days}{'-visible' if visible else ''}-{digest()}"
    if not truth_file(path).is_file():
        shutil.rmtree(path, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_workspace(path, simulate(kind=kind, seed=seed, requests=requests, days=days, visible=visible))
    return path


def worlds(
    kinds: Iterable[str], seeds: Iterable[int], folder: Path, requests: int = 40_000, days: int = 14, *, visible: bool = False
) -> Iterator[Path]:
    """Workspaces of all those kinds and seeds, seed by seed, each built when it is asked for."""
    kinds = tuple(kinds)
    for seed in seeds:
        for kind in kinds:
            yield world(kind, seed, folder, requests, days, visible=visible)


def truth(path: Path) -> dict[str, Any]:
    """What is wrong with a workspace."""
    found: dict[str, Any] = json.loads(truth_file(path).read_text(encoding="utf-8"))
    return found


def truth_file(path: Path) -> Path:
    """Where that is written; the last thing that is."""
    return path.with_name(path.name + ".truth.json")
