"""Tokens: as the file of [security] tokens_path names them, and who it is that shows one.

[camera-7]                     the token's name: logs and answers call it so
sha256 = 9f86d081...           of the token's text; the token itself is kept nowhere but with its holder
role = client                  client | node | coordinator | operator
node_id = 3                    of a node's token, and of no other: the node that it speaks for
"""

import configparser
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from wire.access import ANYBODY, EVERYBODY, Identity, Role
from wire.faults import Fault, SettingsError, guess
from wire.ini import read_file

KEYS = ("sha256", "role", "node_id")
NAME = r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}"
MAX_ID = 2**31 - 1


class Token(Struct, frozen=True):
    """What is known of a token; role None: the one that all share."""

    name: str
    sha256: str
    role: Role | None = None
    node_id: int | None = None

    def identity(self) -> Identity:
        """Return who shows it."""
        return Identity(self.name, frozenset({self.role}) if self.role else EVERYBODY, self.node_id)


def digest(token: str) -> str:
    """Return the token's SHA-256 in hex digits. Tokens are random, so that a plain hash says nothing about them."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def new_token(name: str, role: Role, node_id: int | None = None) -> tuple[str, str]:
    """Return a fresh token of 256 random bits, and the lines for the file of tokens."""
    token = secrets.token_urlsafe(32)
    lines = [f"[{name}]", f"sha256 = {digest(token)}", f"role = {role}"]
    return token, "\n".join(lines + ([] if node_id is None else [f"node_id = {node_id}"]))


def read_tokens(path: Path) -> list[Token]:
    """Return the tokens of the file *path*. Raises SettingsError with all that is wrong with it."""
    parser = read_file(path)
    faults: list[Fault] = []
    tokens = [_token(path, parser[name], faults) for name in parser.sections()]
    if not tokens and not faults:
        faults.append(Fault(path, "holds no token; `python3 -m client token ROLE` makes one"))
    faults += _repeated(path, tokens)
    if faults:
        raise SettingsError(faults)
    return tokens


def _token(path: Path, section: configparser.SectionProxy, faults: list[Fault]) -> Token:
    """Return one token, with its faults noted in *faults*."""

    def fault(problem: str, key: str = "", allowed: str = "", close: str = "") -> None:
        faults.append(Fault(path, problem, section.name, key, allowed, close))

    if not re.fullmatch(NAME, section.name):
        fault("is no name of a token", "", "letters, digits, '_', '.', '@' and '-', at most 64")
    for key in section:
        if key not in KEYS:
            fault("unknown key", key, "" if guess(key, KEYS) else ", ".join(KEYS), guess(key, KEYS))
    sha256, role = section.get("sha256", "").strip().lower(), section.get("role", "").strip()
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        fault("its value is wrong" if sha256 else "is missing", "sha256", "64 hex digits")
    if role not in set(Role):
        fault(f"{role!r} is wrong" if role else "is missing", "role", " | ".join(Role), guess(role, map(str, Role)))
        return Token(section.name, sha256)
    return Token(section.name, sha256, Role(role), _node_id(section, Role(role), fault))


def _node_id(section: configparser.SectionProxy, role: Role, fault: Callable[[str, str, str], None]) -> int | None:
    text = section.get("node_id", "").strip()
    if role is not Role.NODE:
        if text:
            fault(f"a token of role {role} speaks for no node", "node_id", "")
        return None
    if not (text.isascii() and text.isdecimal() and int(text) <= MAX_ID):
        fault(f"{text!r} is wrong" if text else "is missing: the node that it speaks for", "node_id", "a node's id")
        return None
    return int(text)


def _repeated(path: Path, tokens: Iterable[Token]) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for token in tokens:
        if token.sha256 and token.sha256 in seen:
            yield Fault(path, f"is the token of [{seen[token.sha256]}] again", token.name, "sha256")
        seen.setdefault(token.sha256, token.name)


class Keyring:
    """Who is let in. Never changes: another takes its place."""

    def __init__(self, tokens: Iterable[Token] = ()) -> None:
        self._tokens = {token.sha256: token for token in tokens}

    def __repr__(self) -> str:
        return f"<Keyring {', '.join(t.name or 'shared' for t in self._tokens.values()) or 'open'}>"

    @property
    def tokens(self) -> list[Token]:
        """All that it knows."""
        return list(self._tokens.values())

    def identify(self, authorization: str | None) -> Identity | None:
        """Return who sends that value of an Authorization header, or None. Without any token anybody may do all."""
        if not self._tokens:
            return ANYBODY
        scheme, _, given = (authorization or "").partition(" ")
        token = self.find(given.strip()) if scheme.lower() == "bearer" else None
        return None if token is None else token.identity()

    def find(self, given: str) -> Token | None:
        """Return the token whose text is *given*, or None.

        It is looked up by its hash: what time tells of the comparison tells of a hash that nobody can aim at.
        """
        sha256 = digest(given)
        token = self._tokens.get(sha256)
        return token if token is not None and hmac.compare_digest(token.sha256, sha256) else None
