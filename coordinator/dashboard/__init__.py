"""What a browser sees: one page, its live feed, and its way in."""
