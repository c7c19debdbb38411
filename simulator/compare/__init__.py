"""The comparison of the algorithms over fixed scenarios (scripts/compare)."""
