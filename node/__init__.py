"""The node agent: runs handlers as processes and moves frames between them."""
