"""How unsure expected sums are, against the covariance of all hours written out."""

import numpy as np
import pytest

from diagnosis.detect.doubts import Doubts


def test_stretches_add_up_as_independent_ones_and_hours_of_one_as_they_hang_together():
    rng = np.random.default_rng(0)
    doubts, whole = Doubts(2, 13), np.zeros((2, 13, 13))
    for start, stop in ((0, 3), (3, 7), (7, 9), (9, 13)):
        root = rng.normal(size=(2, stop - start, stop - start))
        whole[:, start:stop, start:stop] = root @ root.transpose(0, 2, 1)
        doubts.add(start, whole[:, start:stop, start:stop])
        for length in range(1, 14):
            inside = [slice(max(hour - length + 1, 0), hour + 1) for hour in range(start, stop)]
            wanted = np.sqrt(np.stack([whole[:, s, s].sum(axis=(1, 2)) for s in inside], axis=1))
            assert doubts.windows(length) == pytest.approx(wanted)


def test_an_error_that_all_hours_share_grows_with_the_hours_and_one_of_each_alone_with_their_root():
    shared, alone = Doubts(1, 4), Doubts(1, 4)
    shared.add(0, np.ones((1, 4, 4)))
    alone.add(0, np.eye(4)[None])
    assert shared.windows(4)[0, 3] == pytest.approx(4.0)
    assert alone.windows(4)[0, 3] == pytest.approx(2.0)
