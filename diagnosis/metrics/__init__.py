"""What is measured: declarative definitions, built in or the workspace's own, per request, weighted by `diagnosis.estimate`."""

from diagnosis.metrics.definitions import BUILT_IN, Metric, metric
from diagnosis.metrics.measure import PerRequest, measure, per_request
from diagnosis.metrics.own import missing_columns, own_metric
from diagnosis.metrics.rows import positives

__all__ = ["BUILT_IN", "Metric", "PerRequest", "measure", "metric", "missing_columns", "own_metric", "per_request", "positives"]
