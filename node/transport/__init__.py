"""Frames between processes and nodes: shared memory, packets over HTTP, routes."""
