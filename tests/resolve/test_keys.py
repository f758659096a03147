import stat
from dataclasses import replace

import pytest

from diagnosis.errors import HotfixError
from diagnosis.resolve.document import Prepared
from diagnosis.resolve.keys import new_key, private_key, public, signed, signers, trusted
from diagnosis.store import Workspace
from tests.resolve.signing import KEYS, PUBLIC, made, trust, trust_file


def test_a_key_is_made_for_its_owner_alone_and_signs(tmp_path):
    file = tmp_path / "anna.pem"
    text = new_key(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert public(private_key(file)) == text
    with pytest.raises(HotfixError, match="cannot be written"):
        new_key(file)


def test_a_key_that_others_can_read_is_refused(tmp_path):
    file = tmp_path / "anna.pem"
    new_key(file)
    file.chmod(0o640)
    with pytest.raises(HotfixError, match="Others can read"):
        private_key(file)


def test_keys_in_a_workspace_are_refused(tmp_path):
    workspace = Workspace.create(tmp_path / "shop", id="shop")
    with pytest.raises(HotfixError, match="lies in the workspace"):
        new_key(workspace.path / "anna.pem")
    with pytest.raises(HotfixError, match="lies in the workspace"):
        trust(workspace.path / "keys")


def test_a_link_from_a_workspace_to_a_file_outside_is_followed(tmp_path):
    workspace = Workspace.create(tmp_path / "shop", id="shop")
    inside = trust_file(tmp_path / "trust")
    (workspace.path / "trusted.toml").symlink_to(inside)
    assert trusted(workspace.path / "trusted.toml").file == inside.resolve()


def test_trusted_keys_that_others_can_write_are_refused(tmp_path):
    file = trust_file(tmp_path / "trust")
    file.chmod(0o666)
    with pytest.raises(HotfixError, match="Others can write"):
        trusted(file)
    file.chmod(0o600)
    file.parent.chmod(0o777)
    with pytest.raises(HotfixError, match="Others can write"):
        trusted(file)


def test_without_a_file_of_trusted_keys_nothing_is_trusted(monkeypatch):
    monkeypatch.delenv("DIAGNOSIS_TRUSTED_KEYS", raising=False)
    with pytest.raises(HotfixError, match="No file of trusted keys"):
        trusted()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("threshold = 3\n[keys]\na = 'A'", "holds no public keys"),
        (f"threshold = 2\n[keys]\na = '{PUBLIC['anna']}'", "threshold = 2 of 1 keys"),
        (f"threshold = 0\n[keys]\na = '{PUBLIC['anna']}'", "threshold = 0"),
        (f"threshold = true\n[keys]\na = '{PUBLIC['anna']}'", "threshold = True"),
        (f"threshold = 2\n[keys]\na = '{PUBLIC['anna']}'\nb = '{PUBLIC['anna']}'", "same key"),
        ("treshold = 2\n[keys]", "'treshold' is not known"),
        ("threshold = ", "cannot be read"),
    ],
)
def test_a_wrong_file_of_trusted_keys_says_what_is_wrong(tmp_path, text, said):
    file = trust_file(tmp_path / "trust")
    file.write_text(text)
    with pytest.raises(HotfixError, match=said):
        trusted(file)


def test_one_person_mode_is_said_and_two_are_not(tmp_path):
    assert "One-person mode" in trust(tmp_path / "one", threshold=1).warning
    assert trust(tmp_path / "two").warning == ""


def test_a_prepared_file_reads_back_and_gathers_signatures(tmp_path):
    blank = made(by=())
    assert Prepared.from_bytes(blank.as_bytes()) == blank
    anna, bo = signed(blank, KEYS["anna"]), signed(blank, KEYS["bo"])
    both = Prepared.from_bytes(anna.as_bytes()).merged(Prepared.from_bytes(bo.as_bytes()))
    who = trust(tmp_path / "trust")
    assert signers(anna, who) == [PUBLIC["anna"]]
    assert signers(both, who, "undo") == sorted([PUBLIC["anna"], PUBLIC["bo"]])
    assert signers(signed(both, KEYS["mallory"]), who) == sorted([PUBLIC["anna"], PUBLIC["bo"]])


def test_a_signature_of_another_hotfix_is_not_good(tmp_path):
    stolen = replace(made("block_item:i1", by=()), signatures=made().signatures)
    assert signers(stolen, trust(tmp_path / "trust")) == []


def test_signatures_of_two_hotfixes_are_not_mixed():
    with pytest.raises(HotfixError, match="another hotfix"):
        made().merged(made("block_item:i1"))


def test_an_undo_that_does_more_than_undo_is_refused():
    fix = made()
    with pytest.raises(HotfixError, match="does not undo"):
        replace(fix, undo=replace(fix.undo, environment="us"))
    with pytest.raises(HotfixError, match="does not undo"):
        replace(fix, undo=replace(fix.undo, undoes=5))
