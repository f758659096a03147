"""The metrics there are: name, unit, direction, and what they need from the log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from diagnosis.errors import NotFoundError

POSITIVE = ("click", "play", "purchase")  # events that count as success, where the workspace does not say
ATTRIBUTION_S = 86400.0


@dataclass(frozen=True)
class Metric:
    """A definition.

    Attributes
    ----------
    name : str
        As asked for, arguments included: ``ndcg@10``, ``exposure:genre=drama``.
    base : str
        The built-in that it is a case of.
    unit : str
        Of its value; ``share`` lies in [0, 1].
    direction : str
        ``up`` if more is better, ``down`` if less is, ``none`` if neither.
    kind : str
        ``ratio`` (sum over sum), ``quantile`` or ``distinct``.
    sampled : bool
        Whether it can be estimated from a sample at all.
    k : int
        Places that count; 0 = all.
    attribute, value : str
        Of the item.
    level : str
        Of a metric of the workspace's own: ``request``, ``candidate`` or ``shown``; see `diagnosis.metrics.own`.
    numerator, denominator : str
        Its expressions; without a denominator, the numerator is averaged over the rows of each request.
    positive, events : tuple of str
        Events that count as success, and those among them whose values it may add up.
    attribution_s : float
        How long after a request an event counts for it, in seconds.
    file : str
        Where it is defined.
    """

    name: str
    base: str
    unit: str
    direction: str
    kind: str = "ratio"
    sampled: bool = True
    k: int = 0
    attribute: str = ""
    value: str = ""
    description: str = ""
    level: str = ""
    numerator: str = ""
    denominator: str = ""
    positive: tuple[str, ...] = POSITIVE
    events: tuple[str, ...] = POSITIVE
    attribution_s: float = ATTRIBUTION_S
    file: str = ""


_OF_A_GROUP = ("exposure", "retrieved", "success")  # of items with one value: what they get, what they are offered for, what they earn
OWN = "expression"  # the base of metrics of the workspace's own
BUILT_IN: dict[str, Metric] = {
    m.base: m
    for m in (
        Metric("ctr", "ctr", "share", "up", description="shown candidates with a positive event"),
        Metric("ndcg@K", "ndcg", "share", "up", description="discounted gain of positive events by position; a page without any counts 0"),
        Metric("mrr", "mrr", "share", "up", description="1 / position of the first positive event; a page without any counts 0"),
        Metric("ndcg_clicked@K", "ndcg_clicked", "share", "up", description="ndcg over pages with a positive event"),
        Metric("mrr_clicked", "mrr_clicked", "share", "up", description="mrr over pages with a positive event"),
        Metric("score_mean", "score_mean", "raw score", "none", description="mean logged score of scored candidates"),
        Metric("calibration", "calibration", "observed / predicted", "none", description="positive events over the sum of probabilities"),
        Metric("exposure:<attribute>=<value>", "exposure", "share", "none", description="shown positions of items with that value"),
        Metric("retrieved:<attribute>=<value>", "retrieved", "share", "none", description="candidates that have that value"),
        Metric("success:<attribute>=<value>", "success", "share", "up", description="shown candidates of that value with a positive event"),
        Metric("diversity:<attribute>", "diversity", "share", "up", description="chance that two places of a page differ (Simpson 1949)"),
        Metric("coverage", "coverage", "items", "up", kind="distinct", sampled=False, description="distinct items shown"),
        Metric("launch_exposure", "launch_exposure", "share", "none", description="shown positions of items in their first week"),
        Metric("rank_churn", "rank_churn", "share", "none", description="shown places whose order is not the model's"),
        Metric("fallback_rate", "fallback_rate", "share", "down", description="requests served by a fallback"),
        Metric("error_rate", "error_rate", "share", "down", description="requests that ended in an error or timed out"),
        Metric("latency_p95", "latency_p95", "ms", "down", kind="quantile", description="95th percentile of latency"),
        Metric("cost", "cost", "cost / request", "down", description="mean of the logged column cost"),
    )
}


def metric(name: str, own: Mapping[str, Metric] | None = None) -> Metric:
    """The metric of that name, its arguments read.

    Parameters
    ----------
    own : mapping of str to Metric, optional
        Metrics of the workspace's own, by name.

    >>> metric("ndcg@10").k
    10

    Raises
    ------
    NotFoundError
        With near names.
    ValueError
        If an argument is missing or wrong.
    """
    if own and name.strip() in own:
        return own[name.strip()]
    match = re.fullmatch(r"(?P<base>[a-z_0-9]+?)(?:@(?P<k>\d+))?(?::(?P<attribute>[^=]+)(?:=(?P<value>.*))?)?", name.strip())
    base = match["base"] if match else name
    if match is None or base not in BUILT_IN:
        raise NotFoundError("metric", name, [*(m.name for m in BUILT_IN.values()), *(own or ())], few=True)
    found = replace(BUILT_IN[base], name=name.strip())
    if base in ("ndcg", "ndcg_clicked"):
        if not match["k"] or int(match["k"]) < 1:
            raise ValueError(f"{base} needs the number of places; write {base}@10")
        return replace(found, k=int(match["k"]))
    if base in _OF_A_GROUP and not (match["attribute"] and match["value"] is not None):
        raise ValueError(f"{base} needs an attribute and a value; write {base}:genre=drama")
    if base == "diversity" and not match["attribute"]:
        raise ValueError("diversity needs an attribute; write diversity:genre")
    if match["k"] or (match["attribute"] and base not in (*_OF_A_GROUP, "diversity")):
        raise ValueError(f"{base} takes no argument")
    return replace(found, attribute=match["attribute"] or "", value=match["value"] or "")
