"""A LightGBM model trained anew on a part of its training rows, or without some features, as its own text says it was trained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.internals.gradients import parameters
from diagnosis.internals.training_rows import Floats, TrainingRows
from diagnosis.models import Model
from diagnosis.models.scoring import LightgbmModel

MOST = 80_000  # rows that are trained on; of more, those of some requests
SECONDS = 8.0  # for one training
_FEWEST = 200
# What decides what is learned, by name; where files are, which machine and what is printed is not taken from a model's text.
_LEARNING = (
    "objective boosting data_sample_strategy learning_rate num_leaves max_depth min_data_in_leaf min_sum_hessian_in_leaf "
    "bagging_fraction pos_bagging_fraction neg_bagging_fraction bagging_freq bagging_seed feature_fraction feature_fraction_bynode "
    "feature_fraction_seed extra_seed max_delta_step lambda_l1 lambda_l2 linear_lambda min_gain_to_split drop_rate max_drop skip_drop "
    "drop_seed top_rate other_rate min_data_per_group max_cat_threshold cat_l2 cat_smooth max_cat_to_onehot monotone_constraints "
    "monotone_constraints_method monotone_penalty path_smooth interaction_constraints max_bin min_data_in_bin bin_construct_sample_cnt "
    "data_random_seed seed objective_seed scale_pos_weight sigmoid alpha fair_c poisson_max_delta_step tweedie_variance_power "
    "lambdarank_truncation_level label_gain"
)
_SWITCHES = (
    "bagging_by_query extra_trees xgboost_dart_mode uniform_drop linear_tree enable_bundle use_missing zero_as_missing feature_pre_filter "
    "force_col_wise force_row_wise is_unbalance boost_from_average reg_sqrt lambdarank_norm"
)


@dataclass(frozen=True, eq=False)
class Retrained:
    """A model trained anew.

    Attributes
    ----------
    model : LightgbmModel
        With the bundle of the one it stands for.
    rows, total : int
        Training rows it learned from, and those of the file.
    trees : int
    """

    model: LightgbmModel
    rows: int
    total: int
    trees: int


def retrain(
    model: Model,
    rows: TrainingRows,
    *,
    without: NDArray[np.bool_] | None = None,
    blind: Sequence[str] = (),
    most: int = MOST,
    seconds: float = SECONDS,
) -> Retrained:
    """Train a model anew: the same parameters, seeds and number of trees, in one thread.

    With all rows, and all of them in the bundle, the same model comes out; with a part of them one that differs by what the part lacks,
    and a little by its size: compare two that were trained on the same part.

    Parameters
    ----------
    without : array of bool, shape (rows,), optional
        Rows that are left out.
    blind : sequence of str
        Features that are missing in every row, so that no tree looks at them.
    most : int
        Rows that are trained on; of more, those of some requests, always the same.
    seconds : float
        After which training is given up.

    Raises
    ------
    CannotSayError
        If it is no LightGBM model of one output, does not say how it was trained, rows or labels are too few or not what its objective
        takes, or it takes too long.
    """
    if not isinstance(model, LightgbmModel):
        raise CannotSayError(
            f"{model.bundle.name} {model.bundle.version} cannot be trained anew: only LightGBM models say how they were trained.",
            "train it anew where it was trained, and add it as a version.",
        )
    options = _told(model)
    chosen = _chosen(rows, without, most)
    names = list(model.bundle.names)
    matrix = rows.matrix[chosen].copy()
    matrix[:, [names.index(name) for name in blind]] = np.nan
    trees = model.booster.current_iteration()
    learned = _train(matrix, rows, chosen, options, trees, seconds)
    text = learned.model_to_string().encode()
    return Retrained(LightgbmModel(model.bundle, text), len(chosen), rows.total, trees)


def _told(model: LightgbmModel) -> dict[str, Any]:
    """What the text says that decides what is learned."""
    name = f"{model.bundle.name} {model.bundle.version}"
    told = parameters(model.booster.model_to_string(num_iteration=1))
    options: dict[str, Any] = {key: told[key] for key in _LEARNING.split() if told.get(key, "") != ""}
    options |= {key: told[key] == "1" for key in _SWITCHES.split() if key in told}
    if options.get("objective", "custom") in ("custom", "none"):
        raise CannotSayError(f"The text of {name} does not say what it was trained for.", "keep the parameters in the model's text.")
    if int(told.get("num_class", 1)) > 1:
        raise CannotSayError(f"{name} has several outputs; only models of one are trained anew.", "train it anew where it was trained.")
    return options


def _chosen(rows: TrainingRows, without: NDArray[np.bool_] | None, most: int) -> NDArray[np.int64]:
    """Rows to learn from, in their order; the requests of a part are the same whatever is left out."""
    use = (rows.weight > 0) & ~np.isnan(rows.label)
    if len(rows) > most:
        part = np.random.default_rng(0).random(int(rows.owner.max()) + 1) < most / len(rows)
        use &= part[rows.owner]
    if without is not None:
        use &= ~without
    chosen = np.flatnonzero(use)
    if len(chosen) < _FEWEST or len(np.unique(rows.label[chosen])) < 2:
        raise CannotSayError(
            f"Only {len(chosen)} training rows are left, or all have the same label.", "keep more rows in training.parquet."
        )
    return chosen


def _train(matrix: Floats, rows: TrainingRows, chosen: NDArray[np.int64], options: dict[str, Any], trees: int, seconds: float) -> Any:
    import lightgbm

    ranked, until = options["objective"] in ("lambdarank", "rank_xendcg"), time.monotonic() + seconds
    order = np.argsort(rows.owner[chosen], kind="stable") if ranked else np.arange(len(chosen))
    chosen = chosen[order]
    weight = rows.weight[chosen]
    kinds = [i for i, f in enumerate(rows.bundle.features) if f.dtype == "category"]
    data = lightgbm.Dataset(
        matrix[order],
        rows.label[chosen],
        weight=None if (weight == 1).all() else weight,
        group=np.unique(rows.owner[chosen], return_counts=True)[1] if ranked else None,
        feature_name=[name.replace(" ", "_") for name in rows.bundle.names],
        categorical_feature=kinds,
        params={"verbose": -1},
    )

    def stop(state: Any) -> None:
        if time.monotonic() > until:
            raise CannotSayError(
                f"Training anew takes longer than {seconds:g} s.", f"{state.iteration} of {state.end_iteration} trees were trained."
            )

    fixed = {"num_threads": 1, "verbose": -1, "deterministic": True}
    try:
        return lightgbm.train({**options, **fixed}, data, trees, callbacks=[stop])
    except lightgbm.basic.LightGBMError as error:
        name = f"{rows.bundle.name} {rows.bundle.version}"
        raise CannotSayError(f"{name} cannot be trained anew: {error}.", "train it anew where it was trained.") from None
