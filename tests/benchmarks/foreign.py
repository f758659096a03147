"""Answers on workspaces that share nothing with the sample workspace (tests/localize/foreign.py), incident by incident.

Run ``python tests/benchmarks/foreign.py [--first|--second] [--kinds a,b] [--seeds 1:5] [--folder F]``. The localizer was developed on the
incidents of `mishaps.FIRST` with seeds below 100; those of `mishaps.SECOND`, and seeds of 100 and up, were kept back until it stood
(two faults that they then showed were mended). An answer is

- ``right``: its first cause has the component, a right target, and a slice of nearly the same requests; or nothing, where nothing happened;
- ``silent``: no cause, though the incident did harm (its clean twin differs by three paired standard errors or more);
- ``wrong``: another first cause, or any cause where there is none.

An incident that its clean twin puts below three paired standard errors may also be answered with no cause.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("DIAGNOSIS_SECRET", "benchmark")
os.environ.setdefault("XDG_STATE_HOME", tempfile.mkdtemp())


def main() -> None:
    import pandas as pd

    from tests.localize import mishaps

    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--first", action="store_true")
    ask.add_argument("--second", action="store_true")
    ask.add_argument("--kinds", default="")
    ask.add_argument("--seeds", default="1:5")
    ask.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "diagnosis-foreign")
    given = ask.parse_args()
    both = given.first == given.second
    kinds = (
        given.kinds.split(",")
        if given.kinds
        else [*(mishaps.FIRST if given.first or both else ()), *(mishaps.SECOND if given.second or both else ())]
    )
    rows = [_one(kind, seed, given.folder) for kind in kinds for seed in range(*map(int, given.seeds.split(":")))]
    table = pd.DataFrame(rows)
    print(pd.crosstab(table["kind"], table["grade"]).to_string())
    print(
        table["grade"].value_counts().to_string(),
        f"\nseconds: median {table['seconds'].median():.1f}, 95% {table['seconds'].quantile(0.95):.1f}",
    )


def _one(kind: str, seed: int, folder: Path) -> dict[str, object]:
    from diagnosis.localize import localize
    from diagnosis.metrics import metric
    from tests.localize import foreign, mishaps

    made = mishaps.cached(kind, seed, folder)
    bench = foreign.opened(folder / f"{kind}-{seed}")
    began = time.perf_counter()
    answer = localize(bench, metric("ctr"), *made.windows)
    seconds = time.perf_counter() - began
    grade = mishaps.grade(bench, made, answer)
    said = "; ".join(
        f"{c.component}:{c.target} {dict(c.where) or ''} {c.explains:.0%} {c.proof} c={c.confidence:.2f}" for c in answer.causes[:3]
    )
    z = (answer.incident.value - answer.baseline.value) * 100
    print(
        f"{grade:7} {kind}-{seed} truth {made.component}:{'/'.join(made.targets)} {made.where or ''} twin {made.effect * 100:+.2f}% z={made.z:+.1f}"
    )
    print(f"        {answer.verdict} moved {z:+.2f}% | {said or answer.reason}", flush=True)
    return {"kind": kind, "seed": seed, "grade": grade, "seconds": seconds}


if __name__ == "__main__":
    main()
