"""The metric that a question names."""

from __future__ import annotations

from diagnosis.metrics import Metric, metric
from diagnosis.reproduce import Workbench


def metric_of(workbench: Workbench, name: str) -> Metric:
    """The metric of that name: built in, or of the workspace's own.

    Raises
    ------
    NotFoundError
        With near names.
    ValueError
        If an argument is missing or wrong.
    """
    return metric(name)
