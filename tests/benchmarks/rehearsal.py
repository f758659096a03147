"""What rehearsal promises of the best option, next to what the simulated incident took: kind by kind, and how long it takes.

Run ``python tests/benchmarks/rehearsal.py [--quick] [--seeds N] [--kinds a,b] [--folder F]``. The truth of a world is the effect of its
incident against a clean twin, so a fix that takes the cause back completely has as much to gain, and one that only eases it has less. The
cause is given as it is; what is graded is rehearsal. ``--quick`` is one seed a kind.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("DIAGNOSIS_SECRET", "benchmark")
FIRST_SEED = 1000
KINDS = (
    "model_swap,label_bug,leakage,rule_bug,unit_change,stuck_default,upstream_outage,category_rename,"
    "derived_bug,category_codes,inverted_sort,knob,launch_flood"
)


def grade(path: Path) -> tuple[str, float, float]:
    """One line of the result; the seconds that reading and an option took."""
    from diagnosis.localize.windows import Window
    from diagnosis.reproduce import Workbench
    from diagnosis.resolve.options import Trouble, options, ranked
    from diagnosis.resolve.scene import open_scene

    truth = json.loads(path.with_name(path.name + ".truth.json").read_text())
    bench = Workbench.open(path)
    baseline, incident = (Window(*(datetime.fromisoformat(truth[w][k]) for k in ("since", "until"))) for w in ("baseline", "incident"))
    cause = {k: truth[k] for k in ("component", "target", "slice", "since")}
    listed = options(Trouble(bench, cause, baseline, incident))
    began = time.perf_counter()
    scene = open_scene(bench, bench.metric(truth["metric"]), baseline, incident)
    read = time.perf_counter() - began
    found = ranked(scene, listed)
    played = [o for o in found if o.rehearsal is not None]
    each = (time.perf_counter() - began - read) / max(len(played), 1)
    refused = sum(bool(o.rehearsal and o.rehearsal.refused) for o in played)
    best = found[0].rehearsal
    gain = f"{best.whole.change:+.5f} ({best.whole.low:+.5f} to {best.whole.high:+.5f})" if best else "nothing"
    taken = f"{-truth['effect']:+.5f} ± {1.96 * truth['effect_se']:.5f}"
    return (
        f"{truth['kind']:16s} {truth['seed']:5d}  took {taken}  {found[0].play.name:16s} gives {gain}  refused {refused}/{len(played)}",
        read,
        each,
    )


def main() -> None:
    from sample_data.worlds import world

    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--quick", action="store_true")
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--kinds", default=KINDS)
    ask.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "diagnosis-worlds")
    given = ask.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    for kind in given.kinds.split(","):
        for seed in range(FIRST_SEED, FIRST_SEED + (1 if given.quick else given.seeds)):
            line, read, each = grade(world(kind, seed, given.folder))
            print(f"{line}  {read:.1f} s to read, {each:.1f} s an option", flush=True)


if __name__ == "__main__":
    main()
