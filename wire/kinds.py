"""Kinds of configuration values: how a text becomes a value, and what to say when it does not.

A parser takes the text and the folder that relative paths start from; it raises ValueError.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Kind:
    """What a key's value may be; `allowed` says it in words."""

    allowed: str
    parse: Callable[[str, Path], Any]
    secret: bool = False  # never shown


def _integer(low: int, high: int) -> Kind:
    def parse(text: str, _: Path) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return Kind(f"a whole number from {low} to {high}", parse)


def _number(low: float, high: float, unit: str = "") -> Kind:
    def parse(text: str, _: Path) -> float:
        value = float(text)
        if not low <= value <= high:  # false for nan too
            raise ValueError(text)
        return value

    return Kind(f"a number from {low:g} to {high:g}{unit and ' ' + unit}", parse)


def _matching(pattern: str, allowed: str) -> Kind:
    def parse(text: str, _: Path) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(text)
        return text

    return Kind(allowed, parse)


def one_of(*values: str) -> Kind:
    """Return the kind whose values are *values*."""
    return _matching("|".join(map(re.escape, values)), " | ".join(values))


def _flag(text: str, _: Path) -> bool:
    return {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}[
        text.lower()
    ]


def _addr(text: str, _: Path) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", text):
        ipaddress.ip_address(text)
    return text


def _path(text: str, root: Path) -> Path:
    if "\0" in text:
        raise ValueError(text)
    return root / Path(text).expanduser()


def words(text: str) -> list[str]:
    """Return the parts of a list: separated by commas or line ends."""
    return [word for word in (part.strip() for part in re.split(r"[,\n]", text)) if word]


def _paths(text: str, root: Path) -> list[Path]:
    return [_path(word, root) for word in words(text)]


def _urls(text: str, _: Path) -> list[str]:
    urls = [word.rstrip("/") for word in words(text)]
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.path:
            raise ValueError(url)
        if parts.port == 0:  # raises ValueError itself when it is no port
            raise ValueError(url)
    return urls


def _cores(text: str, _: Path) -> list[int]:
    cores: set[int] = set()
    for word in words(text):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", word)
        if not match:
            raise ValueError(word)
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(word)
        cores.update(range(first, last + 1))
    return sorted(cores)


def _algorithms(text: str, _: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in words(text):
        match = re.fullmatch(r"(\w+)\s*=\s*([A-Za-z_][\w.]*:[A-Za-z_]\w*)", line)
        if not match or match[1] in found:
            raise ValueError(line)
        found[match[1]] = match[2]
    return found


def _hosts(text: str, _: Path) -> list[str]:
    hosts = [word.lower() for word in words(text)]
    for host in hosts:
        if "/" in host:
            ipaddress.ip_network(host)  # raises ValueError when an address has bits beside its network's
        elif host != "*" and not re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_])?", host):
            ipaddress.ip_address(host)
    return hosts


def is_loopback(addr: str) -> bool:
    """Return True when nobody outside this machine can reach *addr*."""
    try:
        return ipaddress.ip_address(addr).is_loopback
    except ValueError:
        return addr.lower() == "localhost"


TEXT = Kind("a text in one line", _matching(r"[^\n]*", "").parse)
NAME = _matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "letters, digits, '_', '.' and '-', at most 64")
SECRET = Kind("a text in one line", TEXT.parse, secret=True)
FLAG = Kind("true | false", _flag)
ADDR = Kind("an IP address or a host name", _addr)
PORT = _integer(0, 65535)
ID = _integer(0, 2**31 - 1)
COUNT = _integer(1, 2**31 - 1)
SIZE_MB = _integer(1, 1 << 20)
SECONDS = _number(0.05, 86400, "seconds")
AMOUNT = _number(0, 1e9)
SHARE = _number(0, 1)
PATH = Kind("a path; relative ones start at the repository's root", _path)
PATHS = Kind("folders, separated by commas; relative ones start at the repository's root", _paths)
URLS = Kind("one or several http://HOST:PORT, separated by commas", _urls)
WORDS = Kind("words, separated by commas", lambda text, _: words(text))
HOSTS = Kind("host names, addresses, networks like 10.0.0.0/8, or *; separated by commas", _hosts)
CORES = Kind("core numbers like 0,2 or 0-3", _cores)
ALGORITHMS = Kind("lines of NAME = MODULE:CLASS", _algorithms)
