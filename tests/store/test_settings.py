"""Workspace settings."""

import pytest

from diagnosis.errors import SettingsError, WorkspaceError
from diagnosis.store import Workspace


def write(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "diagnosis.toml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ('id = "a"\nnmae = "x"', "nmae", "did you mean name"),
        ('name = "x"', "id", "add a line id"),
        ('id = "a b"', "id", "correct the value"),
        ('id = "a"\n[tables.requests]\nformat = "csv"', "tables.requests.format", "correct the value"),
        ('id = "a"\n[tables.requests]\npaht = "x"', "tables.requests.paht", "did you mean path"),
        ('id = "a"\n[state]\nurl = "postgresql://me:secret@host/db"', "state.url", "correct"),
        ('id = "a"\n[detect]\ntimezone = "Mars/Olympus"', "detect.timezone", "correct"),
        ('id = "a"\n[detect]\nfalse_per_month = inf', "detect.false_per_month", "correct"),
        ("id = ", "(whole file)", "check the line"),
    ],
)
def test_a_wrong_setting_names_file_key_and_fix(tmp_path, text, key, hint):
    with pytest.raises(SettingsError) as caught:
        Workspace.open(write(tmp_path / "w", text))
    assert (caught.value.file.name, caught.value.key) == ("diagnosis.toml", key)
    assert hint in caught.value.hint


def test_everything_but_the_id_has_a_default(tmp_path):
    settings = Workspace.open(write(tmp_path / "w", 'id = "a"')).settings
    assert (settings.title, settings.positive_events) == ("a", ("click", "play", "purchase"))


def test_a_folder_that_is_no_workspace_says_what_one_is(tmp_path):
    with pytest.raises(WorkspaceError, match="not a workspace"):
        Workspace.open(tmp_path)
    with pytest.raises(WorkspaceError, match="no folder"):
        Workspace.open(tmp_path / "none")


def test_an_existing_workspace_is_not_overwritten(tmp_path):
    Workspace.create(tmp_path / "w", id="a")
    with pytest.raises(WorkspaceError, match="already"):
        Workspace.create(tmp_path / "w", id="b")


@pytest.mark.parametrize(("values", "key"), [({"id": "a b"}, "id"), ({"id": "a", "nmae": "x"}, "nmae"), ({}, "id")])
def test_a_wrong_setting_is_named_when_a_workspace_is_made(tmp_path, values, key):
    with pytest.raises(SettingsError) as caught:
        Workspace.create(tmp_path / "w", **values)
    assert caught.value.key == key
    assert not (tmp_path / "w").exists()
