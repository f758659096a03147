"""Charts of rehearsals, and the rows that they are drawn from."""

from app import charts_fix, charts_windows
from diagnosis.resolve.shown import LEVELS, change_rows, harmed_slices, level_rows


def gain(attribute, value, verdict, q):
    return {
        "attribute": attribute,
        "value": value,
        "verdict": verdict,
        "q": q,
        "change": 0.01,
        "low": 0.0,
        "high": 0.02,
        "requests": 9,
        "changed": 3,
    }


HELD = {
    "now": [0.1, 0.09, 0.11],
    "fixed": [0.12, 0.11, 0.13],
    "baseline": [0.12, None, None],
    "tasks": [gain("task", "home", "harmed", 0.01), gain("task", "search", "unchanged", 1.0)],
    "slices": [gain("device", "tv", "helped", 0.2), gain("device", "web", "unsure", 0.5), gain("country", "de", "harmed", 0.3)],
}


def test_rows_hold_what_is_known_tasks_first_and_what_is_harmed_before_what_is_helped():
    assert level_rows(HELD)["which"].tolist() == ["now", "with the fix"]
    assert change_rows(HELD)["slice"].tolist() == ["task home", "task search", "country de", "device tv"]
    assert harmed_slices(HELD) == ["task home", "country de"]
    assert level_rows({}).empty
    assert change_rows({}).empty


def test_the_charts_say_their_unit_and_what_they_show():
    said = "Change of ctr in 4 slices"
    drawn = charts_fix.changes(change_rows(HELD), title="change of ctr", share=True, description=said).to_dict()
    assert drawn["description"] == said
    assert drawn["layer"][1]["encoding"]["x"]["title"] == "change of ctr"
    assert drawn["layer"][1]["encoding"]["x"]["axis"]["format"] == "+.2%"
    levels = charts_windows.proof(level_rows(HELD), title="ctr", share=True, description="Now.", order=LEVELS, of="when").to_dict()
    assert levels["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["now", "with the fix", "baseline"]
