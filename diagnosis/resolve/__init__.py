"""What now: options, rehearsed on logged requests, and hotfixes that are signed, expire and can be undone."""
