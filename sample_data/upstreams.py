"""Where features come from, and who owns them."""

from __future__ import annotations

UPSTREAMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "item_stats_daily": ("content-analytics", ("item_ctr", "item_clicks_7d", "item_impressions_7d")),
    "member_genre_daily": ("profiles", ("member_genre_plays", "member_genre_affinity", "member_recent_share", "member_plays")),
    "catalog": ("catalog", ("genre", "language", "runtime_min", "item_age_days")),
    "reviews": ("community", ("item_rating",)),
    "search_index": ("search", ("query_match",)),
    "item_similarity": ("related", ("seed_similarity",)),
}
