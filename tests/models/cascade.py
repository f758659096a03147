"""A composite of two stages: the first sees the price alone and keeps three candidates, the second sees all; one for every other task."""

import numpy as np
import pandas as pd

from diagnosis.models import Bundle, Feature, Stage, write_bundle
from tests.conftest import COLOURS

ROWS = 6
FEATURES = (
    Feature("price", "candidates.price"),
    Feature("colour", "candidates.colour", "category", COLOURS),
    Feature("task", "requests.task", "category", ("homepage", "search")),
)


def boosters(trained, turned=False):
    """The first stage's booster, `turned` one that likes what the other does not, and the second's."""
    import lightgbm

    booster, frame, label = trained
    options = {"objective": "binary", "num_leaves": 4, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    cheap = lightgbm.train(
        options, lightgbm.Dataset(frame[["price"]].to_numpy(), 1 - label if turned else label, feature_name=["price"]), 3
    )
    return cheap, booster


def write_cascade(trained, folder, version="1", keep=3, tasks=("homepage",), turned=False, training=None):
    """The bundle: `light` for all tasks, `heavy` for some."""
    cheap, booster = boosters(trained, turned)
    stages = (
        Stage("light", "lightgbm", "light.txt", "-", ("price",), keep=keep),
        Stage("heavy", "lightgbm", "heavy.txt", "-", ("price", "colour"), tasks=tasks),
    )
    made = Bundle(folder, "cascade", version, "composite", "heavy.txt", link="sigmoid", features=FEATURES, stages=stages)
    return write_bundle(folder, made, booster.model_to_string().encode(), training, earlier={"light.txt": cheap.model_to_string().encode()})


def rows(task="homepage"):
    """Six candidates of one request."""
    return pd.DataFrame(
        {
            "price": [1.5, -1.0, 0.2, 0.9, -2.0, 0.4],
            "colour": pd.Series(["red", "green", "blue", "green", "green", "red"], dtype=object),
            "task": pd.Series([task] * ROWS, dtype=object),
        }
    )


def expected(trained, frame, turned=False):
    """Scores of both stages for all rows, by the boosters themselves."""
    cheap, booster = boosters(trained, turned)
    codes = np.array([COLOURS.index(c) for c in frame["colour"]], dtype=float)
    first = cheap.predict(frame[["price"]].to_numpy(), raw_score=True)
    return first, booster.predict(np.column_stack([frame["price"], codes]), raw_score=True)
