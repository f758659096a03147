"""How often the localizer is right on simulated incidents, kind by kind, and how long it takes.

Run ``python tests/benchmarks/localization.py [--quick] [--seeds N] [--kinds a,b] [--folder F] [--fit FILE] [--visible]``. Worlds of 40,000
requests are built once below the folder (about 15 s each) and kept. Seeds begin at 1000: lower ones are for development. Placebos (a
baseline's first half against its second) and clean worlds and decoys are the negatives. ``--quick`` is one seed a kind.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("DIAGNOSIS_SECRET", "benchmark")
FIRST_SEED = 1000


def main() -> None:
    from sample_data.kinds import KINDS
    from sample_data.worlds import world

    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--quick", action="store_true")
    ask.add_argument("--seeds", type=int, default=10)
    ask.add_argument("--first-seed", type=int, default=FIRST_SEED)
    ask.add_argument("--kinds", default=",".join(KINDS))
    ask.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "diagnosis-worlds")
    ask.add_argument("--fit", type=Path)
    ask.add_argument("--visible", action="store_true")
    ask.add_argument("--placebos", action="store_true")
    given = ask.parse_args()
    seeds = range(given.first_seed, given.first_seed + (1 if given.quick else given.seeds))
    shown = given.folder / f"asked-{os.getpid()}"
    shown.mkdir(parents=True)
    try:
        for seed in seeds:
            for kind in given.kinds.split(","):
                made = world(kind, seed, given.folder, visible=given.visible)
                for path in (made, made.with_name(made.name + ".truth.json")):
                    (shown / path.name).symlink_to(path.resolve())
                print(f"built {made.name}", file=sys.stderr, flush=True)
        print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
        options = ["--placebos"] if given.placebos else []
        options += ["--fit", str(given.fit)] if given.fit else []
        subprocess.run(
            [sys.executable, "-m", "diagnosis", "bench", "localize", str(shown), *options], check=True, cwd=Path(__file__).parents[2]
        )
    finally:
        shutil.rmtree(shown)


if __name__ == "__main__":
    main()
