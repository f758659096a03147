"""What is measured: declarative definitions, computed per request, weighted by `diagnosis.estimate`."""

from diagnosis.metrics.definitions import BUILT_IN, Metric, metric
from diagnosis.metrics.measure import PerRequest, measure, per_request, positives

__all__ = ["BUILT_IN", "Metric", "PerRequest", "measure", "metric", "per_request", "positives"]
