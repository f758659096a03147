"""Is something wrong, for whom? Baselines that know rhythm and trend, objectives by phase, incidents."""
