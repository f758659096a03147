"""The kinds of incidents, by name: read by the command's help, so nothing heavy is imported here."""

from __future__ import annotations

KINDS = (
    "clean",
    "stuck_default",
    "unit_change",
    "stale_feature",
    "category_rename",
    "derived_bug",
    "upstream_outage",
    "sentinel_leak",
    "category_codes",
    "wrong_model",
    "model_swap",
    "label_bug",
    "leakage",
    "retriever_drop",
    "launch_flood",
    "rule_bug",
    "inverted_sort",
    "timeout_fallback",
    "stale_cache",
    "knob",
    "traffic_mix",
    "taste_shift",
    "position_change",
    "sampling_bug",
    "outcome_loss",
    "decoy",
    "compound",
    "outside",
)
HARMFUL = tuple(kind for kind in KINDS if kind not in ("clean", "decoy"))
