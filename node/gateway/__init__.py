"""A node's gateway: frames in and out over HTTP, and the entry of the sessions that begin here."""
