"""Which mechanism moved a metric, on generators whose coalitions can be worked out."""

import numpy as np
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.localize.mechanisms import Node, mechanisms


def rate(values):
    """The weighted mean, as a function of weights."""
    return lambda w: float(w @ values / w.sum())


def two_coins(n, before, after, seed=0):
    """G with a chance, Y with a chance given G; `before` and `after` are (P(G), P(Y | G=0), P(Y | G=1))."""
    rng = np.random.default_rng(seed)
    g = np.concatenate([rng.random(n) < side[0] for side in (before, after)])
    chance = np.concatenate([np.where(g[:n], before[2], before[1]), np.where(g[n:], after[2], after[1])])
    y = rng.random(2 * n) < chance
    return g * 1.0, y * 1.0, np.repeat([False, True], n)


def backdoor(n, q, rng):
    """The synthetic setting of Zhang et al. 2023: G tells Y with chance q; each X sees Y with a quarter flipped, and more or less of G."""
    g = rng.random(n) < 0.5
    y = np.where(rng.random(n) < q, g, ~g)
    seen = [y ^ (rng.random(n) < 0.25) for _ in range(3)]
    return np.stack([g, y, rng.normal(seen[0]), rng.normal(seen[1] + 1.0 * g), rng.normal(seen[2] + 3.0 * g)])


@pytest.mark.parametrize("seed", [1, 2])
def test_a_shift_of_labels_given_the_group_goes_to_that_mechanism(seed):
    rng, n = np.random.default_rng(seed), 4000
    g, y, a, b, c = np.concatenate([backdoor(n, 0.9, rng), backdoor(n, 0.1, rng)], axis=1)
    chance = 1 / (1 + np.exp(-2 * (c - 2)))
    nodes = [
        Node("G", g),
        Node("Y", y, ("G",)),
        Node("X1", a, ("Y",)),
        Node("X2", b, ("G", "Y")),
        Node("X3", c, ("G", "Y")),
    ]
    found = mechanisms(nodes, np.repeat([False, True], n), rate((chance - y) ** 2), draws=50)
    assert found.movement > 0.3
    assert found["Y"].share >= 0.984
    assert all(abs(found[name].share) <= 0.033 for name in ("G", "X1", "X2", "X3"))
    assert found.met


def test_two_mechanisms_share_as_worked_out_by_hand():
    # value of nobody 0.25, of G 0.34, of Y 0.15, of both 0.18
    g, y, incident = two_coins(20_000, (0.5, 0.1, 0.4), (0.8, 0.1, 0.2))
    found = mechanisms([Node("G", g), Node("Y", y, ("G",))], incident, rate(y))
    assert found["G"].low < 0.06 < found["G"].high
    assert found["Y"].low < -0.13 < found["Y"].high
    assert found["G"].effect == pytest.approx(0.06, abs=0.006)
    assert sum(p.effect for p in found.parts) == pytest.approx(found.movement)
    assert found["Y"].label == "P(Y | G)"


def test_where_nothing_changed_no_mechanism_did():
    told = 0
    for seed in range(10):
        g, y, incident = two_coins(3000, (0.5, 0.1, 0.4), (0.5, 0.1, 0.4), seed)
        told += sum(p.changed for p in mechanisms([Node("G", g), Node("Y", y, ("G",))], incident, rate(y), draws=20).parts)
    assert told == 0


def test_a_change_that_only_two_columns_together_show_is_seen():
    # before Y is G in nine of ten rows, after in one of ten; neither alone differs, to the very row
    g = np.tile([0, 0, 1, 1], 1000).astype(float)
    y = np.concatenate([np.where(np.arange(4000) // 4 % 10 < share, g, 1 - g) for share in (9, 1)])
    nodes = [Node("G", np.tile(g, 2)), Node("Y", y, ("G",))]
    found = mechanisms(nodes, np.repeat([False, True], 4000), rate(y * np.tile(g, 2)), draws=20)
    assert found["Y"].changed
    assert not found["G"].changed
    assert found["Y"].effect == pytest.approx(0.05 - 0.45)


def test_rows_count_as_what_they_stand_for():
    g, y, incident = two_coins(20_000, (0.5, 0.1, 0.4), (0.5, 0.1, 0.4))
    rng = np.random.default_rng(5)
    keep = np.where(~incident & (g > 0), 0.25, 1.0)  # the baseline keeps a quarter of one group
    kept = rng.random(len(g)) < keep
    nodes = [Node("G", g[kept]), Node("Y", y[kept], ("G",))]
    weighed = mechanisms(nodes, incident[kept], rate(y[kept]), weight=1 / keep[kept], draws=20)
    plain = mechanisms(nodes, incident[kept], rate(y[kept]), draws=20)
    assert not any(p.changed for p in weighed.parts)
    assert plain["G"].changed


def test_what_no_node_holds_is_left_over():
    rng = np.random.default_rng(3)
    g, y, incident = two_coins(5000, (0.5, 0.1, 0.4), (0.8, 0.1, 0.4))
    loss = g + np.where(incident, 1.0, 0.0) + 0.1 * rng.normal(size=len(g))
    found = mechanisms([Node("G", g), Node("Y", y, ("G",))], incident, rate(loss))
    assert not found.met
    assert found["G"].effect == pytest.approx(0.3, abs=0.03)
    assert found.rest == pytest.approx(1.0, abs=0.03)


def test_rows_of_one_member_are_resampled_together():
    _, y, incident = two_coins(2000, (0.5, 0.1, 0.4), (0.5, 0.3, 0.6))
    alone = mechanisms([Node("Y", y, ())], incident, rate(y))
    five = [np.repeat(v, 5) for v in (y, incident)]
    together = mechanisms([Node("Y", five[0], ())], five[1], rate(five[0]), clusters=np.repeat(np.arange(4000), 5))
    width = [p.high - p.low for p in (alone["Y"], together["Y"])]
    assert width[1] == pytest.approx(width[0], rel=0.25)


def test_a_vector_of_numbers_and_categories_is_one_mechanism():
    rng, n = np.random.default_rng(1), 4000
    kind = np.concatenate([rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1]), rng.choice(4, n, p=[0.1, 0.2, 0.3, 0.4])]).astype(float)
    other = rng.normal(size=(2 * n, 2))
    other[::7] = np.nan
    found = mechanisms([Node("kind", kind, (), True), Node("other", other, ("kind",))], np.repeat([False, True], n), rate(kind), draws=50)
    assert found["kind"].share == pytest.approx(1.0)
    assert not found["other"].changed


def test_windows_with_nothing_in_common_and_graphs_that_are_none_are_refused():
    x = np.concatenate([np.zeros(500), np.ones(500)])
    incident = np.repeat([False, True], 500)
    with pytest.raises(CannotSayError, match="too little in common"):
        mechanisms([Node("x", x)], incident, rate(x))
    with pytest.raises(CannotSayError, match="no rows"):
        mechanisms([Node("x", x)], np.zeros(1000, dtype=bool), rate(x))
    with pytest.raises(ValueError, match="cycle through a, b"):
        mechanisms([Node("a", x, ("b",)), Node("b", x, ("a",))], incident, rate(x))
    with pytest.raises(ValueError, match="not known: c"):
        mechanisms([Node("a", x, ("c",))], incident, rate(x))
