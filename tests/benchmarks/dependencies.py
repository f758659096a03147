"""Changes upstream on simulated workspaces whose truth is known: how many are found, how soon, and what is reported where nothing changed.

    python tests/benchmarks/dependencies.py FOLDER...

Each folder holds workspaces as `diagnosis sample` writes them, beside their ``.truth.json``. Of kinds that change what an upstream gives
(`unit_change`, `category_rename`, `stale_feature`, `knob`), the finder is asked 3, 6, 12 and 24 hours after the onset; of `clean`
workspaces at the end of each of the last six days.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from diagnosis.detect.dependencies import findings
from diagnosis.reproduce import Workbench

KINDS, HOURS, DAYS = ("unit_change", "category_rename", "stale_feature", "knob"), (3, 6, 12, 24), 6


def asked(truth: dict, bench: Workbench) -> tuple[list[bool], list[str], float]:
    """Whether it was found after each of `HOURS`, what else was, and how many hours the onset is off after the last."""
    since, upstream = datetime.fromisoformat(truth["since"]), set()
    found, others, off = [], [], float("nan")
    for hours in HOURS:
        told = findings(bench, since + timedelta(hours=hours))
        right = [f for f in told if (f.what == "age" if truth["kind"] == "knob" else f.feature == truth["target"])]
        upstream |= {f.feature or f.subject for f in told if f not in right}
        others = sorted(upstream)
        found.append(bool(right))
        if right:
            off = abs((right[0].since - since) / timedelta(hours=1))
    return found, others, off


def main() -> None:
    """Grade and print."""
    rows, offs, others, quiet, looks = [], [], 0, 0, 0
    for file in sorted(f for folder in sys.argv[1:] for f in Path(folder).glob("*.truth.json")):
        truth, place = json.loads(file.read_text()), file.with_name(file.name.removesuffix(".truth.json"))
        if truth["kind"] in KINDS:
            found, other, off = asked(truth, Workbench.open(place))
            rows.append(found)
            offs.append(off)
            others += len(other)
            print(f"{place.name[:28]:30} {truth['target']:24} {found} {other}", flush=True)
        elif truth["kind"] == "clean":
            bench = Workbench.open(place)
            end = bench.snapshot.window()[1]
            for day in range(DAYS):
                told = findings(bench, end - timedelta(days=day))
                looks, quiet = looks + 1, quiet + (not told)
                if told:
                    print(f"{place.name[:28]:30} day -{day}: {[f.text for f in told]}", flush=True)
    if rows:
        shares = np.mean(rows, axis=0)
        told = ", ".join(f"{share:.0%} after {h} h" for h, share in zip(HOURS, shares, strict=True))
        print(f"{len(rows)} changes: found {told}; onset off by {np.nanmedian(offs):.1f} h (median); {others} findings of another feature")
    print(f"clean: {looks - quiet} of {looks} looks reported something")


if __name__ == "__main__":
    main()
