"""What a client wishes: the Prefer and Accept headers."""

from collections.abc import Iterable


def prefer(headers: dict[str, str]) -> dict[str, str]:
    """Return the preferences of the Prefer header (RFC 7240), e.g. {"wait": "5", "respond-async": ""}."""
    found: dict[str, str] = {}
    for part in headers.get("prefer", "").split(","):
        name, _, value = part.partition(";")[0].strip().partition("=")
        if name:
            found.setdefault(name.strip().lower(), value.strip('" '))
    return found


def accepts(headers: dict[str, str], names: Iterable[str]) -> str | None:
    """Return the first of *names* (media types, our order of preference) that the Accept header allows by q > 0."""
    text = headers.get("accept") or "*/*"
    ranges: dict[str, float] = {}
    for part in text.split(","):
        media, *parameters = [p.strip() for p in part.split(";")]
        quality = next((p[2:] for p in parameters if p.lower().startswith("q=")), "1")
        try:
            ranges[media.lower()] = min(max(0.0, float(quality)), 1.0)  # NaN is 0.0
        except ValueError:
            ranges[media.lower()] = 0.0
    offers = [(ranges.get(n, ranges.get(n.split("/")[0] + "/*", ranges.get("*/*", 0.0))), n) for n in names]
    best = max((q for q, _ in offers), default=0)
    return next((n for q, n in offers if q == best and q > 0), None)
