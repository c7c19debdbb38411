"""The product on a simulated clock: the same algorithms and rules, simulated nodes, links, clients and faults."""
