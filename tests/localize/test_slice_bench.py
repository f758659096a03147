"""The bench of the slice search: on a few made-up cases in the same format, and on the real ones where they lie beside the project."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diagnosis.cli import main
from diagnosis.errors import DiagnosisError
from diagnosis.localize.slice_bench import CaseScore, KindScore, answer_elements, bench
from diagnosis.localize.slices import Slice


def real_cases():
    """Where the labelled incidents lie: `DIAGNOSIS_DATA`, or ``shared/data`` beside a folder above this one."""
    places = [Path(os.environ["DIAGNOSIS_DATA"])] if "DIAGNOSIS_DATA" in os.environ else []
    places += [parent / "shared" / "data" for parent in Path(__file__).resolve().parents]
    return next((place / "slices" for place in places if (place / "slices" / "stalls" / "labels.json").is_file()), None)


REAL = real_cases()


def stalls(folder, name, seed, hit, at=1000):
    """Five minutes and one more, in which viewers that `hit` holds for stall ten times as often."""
    rng = np.random.default_rng(seed)
    rows = []
    for minute in range(at - 300, at + 61, 60):
        for cdn in (5, 7):
            for bitrate in (500, 2000, 4000):
                for isp in ("移动", "NA"):
                    count = int(rng.integers(100, 2000))
                    rate = 0.2 if minute == at and hit(cdn, bitrate, isp) else 0.9 if minute > at else 0.02
                    rows.append(
                        {"min": minute, "value": rng.binomial(count, rate), "cnt": count, "cdn": cdn, "bitrate": bitrate, "isp": isp}
                    )
    pd.DataFrame(rows).to_csv(folder / "cases" / name, index=False)


@pytest.fixture
def cases(tmp_path):
    """Two incidents with right labels, one with a wrong label, and a total in which two slices fell."""
    for kind in ("stalls/cases", "synthetic"):
        (tmp_path / kind).mkdir(parents=True)
    stalls(tmp_path / "stalls", "000.csv", 0, lambda cdn, bitrate, isp: bitrate == 500 and isp == "NA")
    stalls(tmp_path / "stalls", "001.csv", 1, lambda cdn, bitrate, isp: bitrate in (500, 4000))
    stalls(tmp_path / "stalls", "002.csv", 2, lambda cdn, bitrate, isp: cdn == 7)
    labels = [
        {"file": "000.csv", "at": "1000", "cause": [{"bitrate": 500, "isp": "NA"}]},
        {"file": "001.csv", "at": "1000", "cause": [{"bitrate": 4000}, {"bitrate": 500}]},
        {"file": "002.csv", "at": "1000", "cause": [{"cdn": 6}]},
    ]
    (tmp_path / "stalls" / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    rng = np.random.default_rng(3)
    grid = np.indices((6, 5, 4)).reshape(3, -1)
    frame = pd.DataFrame({name: [f"{name}{v}" for v in row] for name, row in zip("abc", grid, strict=True)})
    frame["predict"] = rng.weibull(0.8, len(frame)) * 100
    frame["real"] = frame["predict"] * (1 + 0.05 * rng.normal(size=len(frame)))
    frame.loc[(frame["a"] == "a1") & (frame["b"] == "b2"), "real"] *= 0.3
    frame.loc[frame["c"] == "c3", "real"] *= 0.5
    with gzip.open(tmp_path / "synthetic" / "7.csv.gz", "wt", encoding="utf-8") as file:
        frame.to_csv(file, index=False)
    cause = [{"a": "a1", "b": "b2"}, {"c": "c3"}]
    (tmp_path / "synthetic" / "labels.json").write_text(json.dumps([{"file": "7.csv", "cause": cause}]), encoding="utf-8")
    return tmp_path


def test_right_labels_count_first_and_wrong_ones_never(cases):
    incidents, totals = bench(cases)
    assert (incidents.kind, totals.kind) == ("stalls", "synthetic")
    assert [case.rank for case in incidents.cases] == [1, 1, None]
    assert incidents.cases[1].found == {frozenset({("bitrate", "500")}), frozenset({("bitrate", "4000")})}
    assert [incidents.exact(n) for n in (1, 2, 5)] == [2 / 3] * 3
    assert (incidents.precision, incidents.recall, incidents.f1) == (3 / 4, 3 / 4, 3 / 4)
    assert (totals.exact(1), totals.f1) == (1.0, 1.0)
    assert 0 < incidents.cpu_s < 5


def test_scores_count_elements_over_all_cases():
    a, b, c = (frozenset({("x", value)}) for value in "abc")
    score = KindScore(
        "k", (CaseScore("1", 2, frozenset({a, b}), frozenset({a}), 1.0), CaseScore("2", None, frozenset(), frozenset({b, c}), 3.0))
    )
    assert (score.hits, score.precision, score.recall, score.f1, score.cpu_s) == (1, 1 / 2, 1 / 3, 2 / 5, 2.0)
    assert [score.exact(n) for n in (1, 2, 5)] == [0.0, 0.5, 0.5]


def test_an_answer_is_the_product_of_its_values():
    part = Slice({"a": (1, 2), "b": ("x",)}, *(0.0,) * 8)
    assert answer_elements((part,)) == {frozenset({("a", "1"), ("b", "x")}), frozenset({("a", "2"), ("b", "x")})}
    assert answer_elements((Slice({}, *(0.0,) * 8),)) == {frozenset()}
    assert answer_elements(()) == frozenset()


def test_the_command_prints_a_table_or_one_document(cases, capsys):
    with pytest.raises(SystemExit) as left:
        main(["bench", "slices", str(cases), "--json"])
    assert left.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert [kind["kind"] for kind in document["kinds"]] == ["stalls", "synthetic"]
    assert set(document["kinds"][0]) == {"kind", "cases", "exact_1", "exact_2", "exact_5", "f1", "precision", "recall", "cpu_s", "misses"}
    assert document["kinds"][0]["misses"] == [{"file": "002.csv", "rank": None, "found": [{"cdn": "7"}], "wanted": [{"cdn": "6"}]}]
    with pytest.raises(SystemExit):
        main(["bench", "slices", str(cases), "--misses"])
    out = capsys.readouterr().out
    assert "element F1" in out
    assert "cdn=7" in out


def test_a_folder_may_be_one_kind_itself(cases):
    (score,) = bench(cases / "synthetic")
    assert (score.kind, len(score.cases)) == ("synthetic", 1)


def test_what_is_no_case_is_said(cases, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["bench", "slices", str(tmp_path / "nowhere")])
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("diagnosis: There are no cases in ")
    (cases / "synthetic" / "7.csv.gz").unlink()
    with pytest.raises(DiagnosisError, match="has no file"):
        bench(cases / "synthetic")
    (cases / "synthetic" / "7.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DiagnosisError, match="has columns a, b"):
        bench(cases / "synthetic")
    (cases / "synthetic" / "labels.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DiagnosisError, match="no list of cases"):
        bench(cases / "synthetic")


def test_a_label_cannot_name_a_file_elsewhere(cases):
    (cases / "outside.csv").write_text("a,real,predict\nx,1,2\n", encoding="utf-8")
    (cases / "synthetic" / "labels.json").write_text(json.dumps([{"file": "../outside.csv", "cause": [{"a": "x"}]}]), encoding="utf-8")
    with pytest.raises(DiagnosisError, match="has no file"):
        bench(cases / "synthetic")


@pytest.mark.skipif(REAL is None, reason="the labelled incidents are not beside the project")
def test_labelled_incidents_are_found():
    scores = {score.kind: score for score in bench(REAL)}
    incidents, totals = scores["stalls"], scores["synthetic"]
    assert incidents.exact(1) >= 0.75
    assert incidents.exact(2) >= 0.85
    assert incidents.exact(5) >= 0.95
    assert totals.f1 >= 0.9
    assert max(incidents.cpu_s, totals.cpu_s) < 1.0
