"""Text from logs, numbers, downloads, errors."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from app import charts_internals, state, views


def test_text_from_logs_cannot_be_markup():
    assert views.safe('<img src=x onerror="a()">&\'') == "<bdi>&lt;img src=x onerror=&quot;a()&quot;&gt;&amp;&#x27;</bdi>"
    assert views.mono("<b>") == "<code>&lt;b&gt;</code>"


def test_backquotes_become_code_only_after_everything_is_escaped():
    assert views.prose("run `a <b>` now") == "<bdi>run <code>a &lt;b&gt;</code> now</bdi>"


def test_a_label_keeps_an_id_inside_its_code_span():
    assert views.code("a`](javascript:x)\n# b") == "`aˋ](javascript:x) # b`"


def test_characters_that_hide_or_reorder_text_are_taken_out():
    assert views.plain("user\u202egpj.exe\x00\ud800\tx") == "user gpj.exe x"


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA, pd.NaT, ""])
def test_nothing_is_shown_as_a_dash(nothing):
    assert views.plain(nothing) == "–"


def test_numbers_carry_their_unit():
    assert views.number(1234.5, "ms") == "1,234.5 ms"
    assert views.number(None, "ms") == "–"
    assert views.number(np.float64("nan")) == "–"


def test_a_time_is_told_in_utc():
    assert views.when(pd.Timestamp("2026-11-01T12:00:00", tz="UTC")) == "2026-11-01 12:00:00 UTC"


def test_no_cell_of_a_download_is_a_formula():
    frame = pd.DataFrame(
        {"=cmd()": ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "fine"], "n": [-1.0, 1.0, np.nan, 3.0, 4.0, 5.0, 6.0], "l": [["=1"]] * 7}
    )
    rows = list(csv.reader(io.StringIO(views.csv(frame).decode("utf-8-sig"))))
    assert rows[0] == ["'=cmd()", "n", "l"]
    assert [row[0] for row in rows[1:]] == ["'=1+1", "'+1", "'-1", "'@x", "'\t=1", "' =1", "fine"]
    assert [row[1] for row in rows[1:]] == ["-1.0", "1.0", "", "3.0", "4.0", "5.0", "6.0"]


def test_only_our_own_value_errors_are_for_people():
    with pytest.raises(ValueError, match="yesterday") as ours:
        state.moment("yesterday")
    with pytest.raises(ValueError, match="reshape") as theirs:
        np.zeros((2, 2)).reshape(3)
    assert views._ours(ours.value)
    assert not views._ours(theirs.value)


def test_a_chart_is_a_picture_on_white_with_its_text_escaped():
    rows = pd.DataFrame({"feature": ["<script>x</script>", "b"], "shift": [0.1, -0.2], "low": [0.05, -0.4], "high": [0.2, 0.1]})
    drawn = charts_internals.shift(rows, "shift", "shift", "Two features.")
    svg = views.picture(drawn, "svg").decode()
    assert svg.startswith("<svg")
    assert "<script" not in svg
    assert views.picture(drawn, "png").startswith(b"\x89PNG")


def test_files_of_charts_are_named_by_their_words_only():
    assert views._file_name("Shift of ../../etc/passwd, by «feature» in 2 windows") == "shift-of-etc-passwd-by-feature"
    assert views._file_name("») ") == "chart"
