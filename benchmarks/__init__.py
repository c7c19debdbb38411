"""Scripts that measure the product; RESULTS.md keeps their figures."""
