"""The coordinator: which handler of which session runs on which node, and what became of it."""
