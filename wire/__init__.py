"""What two processes must agree on: settings, messages, packets, graphs, problems, tables."""
