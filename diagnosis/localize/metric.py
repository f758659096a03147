"""The metric that a question names."""

from __future__ import annotations

from diagnosis.metrics import Metric
from diagnosis.reproduce import Workbench


def metric_of(workbench: Workbench, name: str) -> Metric:
    """The metric of that name: built in, or of the workspace's own.

    Raises
    ------
    NotFoundError
        With near names.
    MetricError
        If it is the workspace's own and cannot be read.
    ValueError
        If an argument is missing or wrong.
    """
    return workbench.metric(name)
