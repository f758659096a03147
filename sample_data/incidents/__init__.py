"""The catalogue of incidents: kinds, in the order in which they are listed."""

from __future__ import annotations

from sample_data.incidents import candidates, decoys, features, models, outcomes, rules, serving
from sample_data.incidents.way import Ways

CATALOGUE: dict[str, Ways] = {
    "stuck_default": features.stuck_default,
    "unit_change": features.unit_change,
    "stale_feature": features.stale_feature,
    "category_rename": features.category_rename,
    "derived_bug": features.derived_bug,
    "upstream_outage": features.upstream_outage,
    "sentinel_leak": features.sentinel_leak,
    "category_codes": serving.category_codes,
    "wrong_model": models.wrong_model,
    "model_swap": models.model_swap,
    "label_bug": models.label_bug,
    "leakage": models.leakage,
    "retriever_drop": candidates.retriever_drop,
    "launch_flood": candidates.launch_flood,
    "rule_bug": rules.rule_bug,
    "inverted_sort": rules.inverted_sort,
    "timeout_fallback": serving.timeout_fallback,
    "stale_cache": serving.stale_cache,
    "knob": serving.knob,
    "traffic_mix": outcomes.traffic_mix,
    "taste_shift": outcomes.taste_shift,
    "position_change": outcomes.position_change,
    "sampling_bug": outcomes.sampling_bug,
    "outcome_loss": outcomes.outcome_loss,
    "decoy": decoys.decoy,
    "outside": outcomes.outside,
}
TWO_OF = (
    "stuck_default",
    "unit_change",
    "derived_bug",
    "upstream_outage",
    "wrong_model",
    "model_swap",
    "timeout_fallback",
    "stale_feature",
)

__all__ = ["CATALOGUE", "TWO_OF"]
