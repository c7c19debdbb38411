"""JSON pointers (RFC 6901) of what msgspec found wrong."""

import re


def json_pointer(path: str, detail: str) -> str:
    """Return msgspec's path `$.a[0].b` as a JSON pointer; at a key it does not name, that of the container."""
    known = path.removeprefix("key in `").removeprefix("$").partition("[...]")[0]
    parts = [name or index for name, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", known)]
    unknown = re.search(r"unknown field `(.*)`", detail)
    if unknown and "[...]" not in path:
        parts.append(unknown[1])
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
