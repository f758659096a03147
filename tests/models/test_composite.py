"""Several models that score one after the other."""

import numpy as np
import pytest

from diagnosis.errors import BundleError, ChangedArtifactError
from diagnosis.models import admit, load, read_bundle
from diagnosis.models.adding import add_bundle
from tests.models.cascade import expected, rows, write_cascade


@pytest.fixture(scope="module")
def cascade(tmp_path_factory, trained):
    bundle = write_cascade(trained, tmp_path_factory.mktemp("models"))
    return load(bundle, admit(bundle))


def test_the_second_stage_scores_what_the_first_keeps(cascade, trained):
    frame = rows()
    first, second = expected(trained, frame)
    run = cascade.run(frame)
    kept = np.sort(np.argsort(-first, kind="stable")[:3])
    assert np.flatnonzero(~np.isnan(run.score)).tolist() == kept.tolist()
    assert run.score[kept].tobytes() == second[kept].tobytes()
    assert [d for d in run.dropped_by if d is not None] == ["light"] * 3
    assert run.by_stage["light"].tobytes() == first.tobytes()


def test_every_request_keeps_its_own(cascade, trained):
    import pandas as pd

    frame = rows()
    both = pd.concat([frame, frame.iloc[::-1]], ignore_index=True)
    run = cascade.run(both, np.array([6, 6]))
    alone = cascade.run(frame)
    assert run.score[:6].tobytes() == alone.score.tobytes()
    assert run.score[6:].tobytes() == cascade.run(frame.iloc[::-1].reset_index(drop=True)).score.tobytes()


def test_a_task_without_a_head_ends_with_the_stage_before(cascade, trained):
    frame = rows("search")
    first, _ = expected(trained, frame)
    run = cascade.run(frame)
    kept = ~np.isnan(run.score)
    assert run.score[kept].tobytes() == first[kept].tobytes()
    assert np.isnan(run.by_stage["heavy"]).all()
    assert (cascade.stage_for("homepage"), cascade.stage_for("search")) == ("heavy", "light")


def test_equal_scores_keep_those_that_stand_first_and_missing_ones_come_last(tmp_path, trained):
    bundle = write_cascade(trained, tmp_path, keep=2)
    model = load(bundle, admit(bundle))
    frame = rows().iloc[[0, 0, 0, 0]].reset_index(drop=True)
    assert np.flatnonzero(~np.isnan(model.run(frame).score)).tolist() == [0, 1]


def test_a_manifest_of_stages_reads_back(tmp_path, trained):
    made = write_cascade(trained, tmp_path)
    assert read_bundle(made.folder) == made
    assert made.scope == "list"  # whom the first stage keeps depends on the others
    assert made.stages[0].sha256 != "-"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("keep = 3", "keep = -1", "no number of candidates"),
        ('name = "heavy"', 'name = "light"', "two stages are called"),
        ('artifact = "light.txt"', 'artifact = "../light.txt"', "file name beside"),
        ('kind = "lightgbm"', 'kind = "composite"', "no kind of a stage"),
        ('    "colour",\n]', '    "odour",\n]', "none of the bundle's features"),
        ('from = "requests.task"', 'from = "requests.device"', "need the task"),
    ],
)
def test_a_wrong_stage_says_what_and_where(tmp_path, trained, old, new, message):
    folder = write_cascade(trained, tmp_path).folder
    file = folder / "model.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


def test_a_stage_that_changed_after_admission_is_not_loaded(tmp_path, trained):
    bundle = write_cascade(trained, tmp_path)
    admission = admit(bundle)
    load(bundle, admission)
    file = bundle.folder / "light.txt"
    file.write_text(file.read_text().replace("shrinkage=0.1", "shrinkage=0.2"))
    with pytest.raises(ChangedArtifactError, match=r"light\.txt"):
        load(bundle, admission)


def test_a_stage_that_is_not_the_described_file_is_not_admitted(tmp_path, trained):
    bundle = write_cascade(trained, tmp_path)
    (bundle.folder / "light.txt").write_text("tree\n")
    with pytest.raises(BundleError, match="not the file that the manifest describes"):
        admit(bundle)


def test_a_composite_is_added_from_its_manifest_and_the_files_beside_it(tmp_path, trained):
    made = write_cascade(trained, tmp_path / "theirs")
    score = load(made, admit(made)).run(rows()).score
    manifest = made.folder / "model.toml"
    manifest.write_text("\n".join(line for line in manifest.read_text().splitlines() if "sha256" not in line))
    added = add_bundle(tmp_path / "ours", made.folder / "heavy.txt", name="cascade", version="2", manifest=manifest)
    assert [s.sha256 for s in added.stages] == [s.sha256 for s in made.stages]
    assert load(added, admit(added)).run(rows()).score.tobytes() == score.tobytes()
    (made.folder / "light.txt").unlink()
    with pytest.raises(BundleError, match=r"light\.txt cannot be read"):
        add_bundle(tmp_path / "ours", made.folder / "heavy.txt", name="cascade", version="3", manifest=manifest)
