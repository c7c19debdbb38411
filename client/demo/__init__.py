"""`scripts/demo`: the whole system on this machine, small, with everything it does shown."""
