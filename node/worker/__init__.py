"""A handler's process: receive, execute, send on."""
