"""The steps of a vision pipeline: one module per handler type; imports no daemon."""
