"""The fuzzer: bytes that were valid once, spoilt in known ways, at the real parsers and at real daemons."""
