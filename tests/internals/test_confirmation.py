"""Training labels against the outcomes in the log."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.errors import MissingFeaturesError
from diagnosis.internals.confirmation import shown_rows, unconfirmed
from diagnosis.testing import make_batch, make_request
from tests.internals.lessons import bundle, columns, rows


def logged(lost="", n=400):
    """Requests of five shown candidates, as many clicks as `columns` has."""
    given = columns(5 * n, seed=9)
    made = []
    for i in range(n):
        part = slice(5 * i, 5 * i + 5)
        one = make_request(
            f"l{i}",
            request={"device": str(given["device"][5 * i]), "task": str(given["task"][5 * i]), "keep_probability": 0.5},
            x=given["x"][part].tolist(),
            y=given["y"][part].tolist(),
            position=[1, 2, 3, 4, None],
        )
        hit = [item for item, label in zip("abcd", given["label"][part], strict=False) if label and given["device"][5 * i] != lost]
        made.append((one, hit))

    def told(one, hit):
        return replace(one, outcomes=pa.table({"request_id": [one.request_id] * len(hit), "item_id": hit, "event": ["click"] * len(hit)}))

    return make_batch(*(told(one, hit) for one, hit in made if hit), *(one for one, hit in made if not hit))


def test_what_was_shown_has_its_outcomes_for_labels():
    found = shown_rows(bundle(), logged(n=50))
    assert len(found) == 200
    assert found.weight.tolist() == [2.0] * 200
    assert 0.1 < found.label.mean() < 0.4
    assert not np.isnan(found.matrix).any()


def test_labels_that_no_outcome_confirms_are_named_and_others_are_not():
    shown = shown_rows(bundle(), logged())
    well = unconfirmed(shown, rows("2", **columns()), ("device", "task"))
    assert len(well.label_moves) == 0
    assert well.sentence == "No label rate by a request attribute is at odds with the log."
    late = columns(seed=1)
    late["label"] = np.where(late["device"] == "phone", 0.0, late["label"])
    found = unconfirmed(shown, rows("2", **late), ("device", "task"))
    assert found.label_moves["value"].tolist() == ["phone"]
    assert "expected from the log and the other values" in found.sentence


def test_a_log_that_lacks_a_feature_is_named():
    with pytest.raises(MissingFeaturesError, match="y"):
        shown_rows(bundle(), make_batch(make_request(request={"device": "tv"}, position=[1], x=[1.0])))
