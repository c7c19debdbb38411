"""What a node measures, and how it reaches the collector: samples, counters, the spool."""
