import pytest

from diagnosis.errors import HotfixError
from diagnosis.localize.triage import KINDS
from diagnosis.resolve.books import COMPONENTS, playbook

GOOD = """
component = "model"
[[option]]
name = "wait"
title = "Wait for {target}"
term = "short"
step = "Nothing."
who = "nobody"
risk = "it stays"
undo = "–"
"""


def own(folder, text, component="model"):
    (folder / "playbooks").mkdir()
    (folder / "playbooks" / f"{component}.toml").write_text(text)
    return folder


def test_every_component_of_the_triage_matrix_has_short_and_long_term_options():
    assert {kind.component for kind in KINDS} == set(COMPONENTS)
    for component in COMPONENTS:
        terms = {play.term for play in playbook(component)}
        assert terms == {"short", "long"}, component


def test_a_workspace_has_playbooks_of_its_own(tmp_path):
    assert [p.name for p in playbook("model", own(tmp_path, GOOD))] == ["wait"]
    assert len(playbook("rules", tmp_path)) == len(playbook("rules"))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('component = "model"', 'component = "rules"', "it must say component = 'model'"),
        ('name = "wait"', "", "option 1: name is missing"),
        ('term = "short"', 'term = "soon"', "write short or long"),
        ('who = "nobody"', 'woh = "nobody"', "did you mean who"),
        ('undo = "–"', 'undo = "–"\naction = "pin_model=previus"', "did you mean pin_model=previous"),
        ('undo = "–"', 'undo = "–"\nevidence = "stale"', "evidence is no list"),
        ("{target}", "{target.__class__}", "{target.__class__} is not known"),
        ("[[option]]", "[option]", r"have \[\[option\]\] tables"),
        ('title = "Wait', "title = Wait", "cannot be read"),
    ],
)
def test_a_wrong_playbook_says_where_and_what(tmp_path, before, after, said):
    with pytest.raises(HotfixError, match=said):
        playbook("model", own(tmp_path, GOOD.replace(before, after)))


def test_two_options_of_one_name_are_refused(tmp_path):
    with pytest.raises(HotfixError, match="same name"):
        playbook("model", own(tmp_path, GOOD + GOOD[GOOD.index("[[") :]))


def test_a_component_that_is_none_has_no_playbook():
    with pytest.raises(HotfixError, match="did you mean model"):
        playbook("models")
