"""Bundles on disk."""

import pytest

from diagnosis.errors import BundleError
from diagnosis.models import BrokenBundle, list_bundles, read_bundle
from tests.conftest import FEATURES, bundle_of


def test_a_written_bundle_reads_back(tmp_path, trained):
    made = bundle_of(trained, tmp_path, parent="0", trained_at="2026-10-01")
    assert read_bundle(made.folder) == made
    assert made.features == FEATURES


def test_a_version_is_never_overwritten(tmp_path, trained):
    bundle_of(trained, tmp_path)
    with pytest.raises(BundleError, match="there already"):
        bundle_of(trained, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "lightgbm"', 'kind = "composite"', "has no stages"),
        ('kind = "lightgbm"', 'kind = "magic"', "unknown"),
        ('artifact = "model.txt"', 'artifact = "../model.txt"', "file name beside"),
        ('artifact = "model.txt"', 'artifact = "model.pkl"', "pickle"),
        ('from = "candidates.price"', 'from = "items.price"', "names no log column"),
        ('dtype = "double"', 'dtype = "complex"', "dtype 'complex'"),
        ('name = "ranker"', "", "name is missing"),
        ('name = "ranker"', "name = ", "not TOML"),
    ],
)
def test_a_wrong_manifest_says_what_and_where(tmp_path, trained, old, new, message):
    folder = bundle_of(trained, tmp_path).folder
    file = folder / "model.toml"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


def test_one_broken_bundle_does_not_hide_the_others(tmp_path, trained):
    good = bundle_of(trained, tmp_path)
    (tmp_path / "ranker" / "2").mkdir()
    assert list_bundles(tmp_path) == [good, BrokenBundle(tmp_path / "ranker" / "2", f"{tmp_path / 'ranker' / '2'} has no model.toml.")]


@pytest.mark.parametrize("name", ["..", "a/b", ""])
def test_a_name_cannot_leave_the_folder(tmp_path, trained, name):
    with pytest.raises(BundleError, match="cannot name"):
        bundle_of(trained, tmp_path, version=name)
