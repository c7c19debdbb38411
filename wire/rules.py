"""What must hold between the keys of a configuration, beyond each value's own kind."""

import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wire.faults import SettingsError
from wire.ini import Reader
from wire.kinds import is_loopback
from wire.secret_file import BadSecret, read_secret
from wire.tls import BadCertificate, ServerTls, client_context
from wire.tokens import Token, read_tokens
from wire.tx_targets import TxTarget, read_targets

if TYPE_CHECKING:
    from wire.settings import Settings

SECRETS = {
    "security": ("token", "token_file"),
    "coordinator": ("token", "token_file"),
    "node": ("token", "token_file"),
    "database": ("db_passwd", "db_passwd_file"),
}

logger = logging.getLogger(__name__)


def resolve_secrets(reader: Reader, section: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return *values* with what lies in files of its own, secrets and tokens, read from there."""
    kind = section.partition(" ")[0]
    if kind not in SECRETS:
        return values
    if values.get("tokens_path") is not None:
        values = values | {"tokens": _tokens(reader, values["tokens_path"])}
    if values.get("tx_targets_path") is not None:
        values = values | {"tx_targets": _tx_targets(reader, values["tx_targets_path"])}
    key, file_key = SECRETS[kind]
    path: Path | None = values[file_key]
    if path is None or values.get("db_engine") == "sqlite":
        return values
    if values.get(key) is not None:
        reader.fault(section, file_key, f"is given, and {key} too", "one of the two")
        return values
    return values | {key: _secret(reader, section, file_key, path)}


def _tokens(reader: Reader, path: Path) -> list[Token]:
    try:
        tokens = read_tokens(path)
    except SettingsError as error:
        reader.faults += error.faults
        return []
    if path.stat().st_mode & stat.S_IROTH:
        logger.warning("%s can be read by everybody: the names and roles of all tokens, though no token", path)
    return tokens


def _tx_targets(reader: Reader, path: Path) -> list[TxTarget]:
    try:
        return read_targets(path, reader.root)
    except SettingsError as error:
        reader.faults += error.faults
        return []


def _secret(reader: Reader, section: str, key: str, path: Path) -> str | None:
    try:
        return read_secret(path)
    except BadSecret as error:
        writer = " (install.sh writes it)" if section == "database" and not path.exists() else ""
        reader.fault(section, key, f"{error}{writer}")
        return None


def check_rules(settings: "Settings", reader: Reader) -> None:
    """Note on *reader* what does not fit together in *settings*."""
    if not any((settings.coordinator, settings.collector, settings.nodes)) and not reader.faults:
        reader.fault("", "", "no daemon to start", "[coordinator], [collector], [node] or several [node NAME]")
    _check_addresses(settings, reader)
    _check_ports(settings, reader)
    _check_nodes(settings, reader)
    _check_database(settings, reader)
    _check_own_tokens(settings, reader)
    _check_tls(settings, reader)


def _check_addresses(settings: "Settings", reader: Reader) -> None:
    security = settings.security
    if security.token is not None or security.tokens_path is not None:
        return
    bound = {(section, key): addr for section, key, addr, _ in _listeners(settings)}
    for (section, key), addr in bound.items():
        if not is_loopback(addr):
            problem = (
                f"{addr} is not loopback, and no [security] token or tokens_path is configured: anybody could use it"
            )
            reader.fault(section, key, problem, "127.0.0.1, ::1 or localhost without a token")


def _listeners(settings: "Settings") -> Iterator[tuple[str, str, str, int]]:
    """Yield section, the address's key, address and port of each listening socket."""
    if settings.coordinator:
        one = settings.coordinator
        yield "coordinator", "coordinator_addr", one.coordinator_addr, one.coordinator_port
    if settings.collector:
        yield "collector", "collector_addr", settings.collector.collector_addr, settings.collector.collector_port
    for node in settings.nodes:
        key = "node_addr" if node.listen_addr == node.node_addr else "listen_addr"
        yield node.section, key, node.listen_addr, node.node_port
        yield node.section, key, node.listen_addr, node.data_port


def _check_ports(settings: "Settings", reader: Reader) -> None:
    taken: dict[tuple[str, int], str] = {}
    for section, _, addr, port in _listeners(settings):
        if port and (addr, port) in taken:
            problem = f"port {port} of {addr} is taken by [{taken[addr, port]}]"
            reader.fault(section, "", problem, "each port once, or 0")
        taken.setdefault((addr, port), section)


def _check_nodes(settings: "Settings", reader: Reader) -> None:
    cores = os.cpu_count() or 1
    seen: dict[int, str] = {}
    for node in settings.nodes:
        if node.node_id in seen:
            reader.fault(node.section, "node_id", f"{node.node_id} is taken by [{seen[node.node_id]}]", "each id once")
        seen.setdefault(node.node_id, node.section)
        if node.cpus and node.cpus[-1] >= cores:
            reader.fault(node.section, "cpus", f"there is no core {node.cpus[-1]}", f"0 to {cores - 1}")


def _check_database(settings: "Settings", reader: Reader) -> None:
    database = settings.database
    if database is None or database.db_engine != "mysql":
        return
    for key in ("db_user", "db_schema"):
        if not getattr(database, key):
            reader.fault("database", key, "is missing", "a name; mysql needs one")


def _check_own_tokens(settings: "Settings", reader: Reader) -> None:
    """With roles, who calls others needs a token of its own."""
    if settings.security.tokens_path is None or settings.security.token is not None:
        return
    callers = [("coordinator", settings.coordinator, "coordinator"), *((n.section, n, "node") for n in settings.nodes)]
    for section, found, role in callers:
        if found is not None and found.token_file is None:
            allowed = f"a file with its token, of role {role} (`python3 -m client token {role}` makes one)"
            reader.fault(section, "token_file", "is missing, and [security] has no token for all roles", allowed)


def _check_tls(settings: "Settings", reader: Reader) -> None:
    security = settings.security
    if (security.tls_cert is None) != (security.tls_key is None):
        missing = "tls_key" if security.tls_key is None else "tls_cert"
        reader.fault("security", missing, "is missing: tls_cert and tls_key belong together")
    elif security.tls_cert is not None and security.tls_key is not None:
        cert, key = security.tls_cert, security.tls_key
        _try(reader, "tls_cert", lambda: ServerTls(cert, key))
        _check_key(reader, key)
    if security.tls_ca is not None:
        _try(reader, "tls_ca", lambda: client_context(security.tls_ca))
    for node in settings.nodes if settings.tls else ():
        plain = [url for url in node.coordinator_url if not url.startswith("https:")]
        if plain:
            problem = f"{plain[0]} is not https: with TLS configured its token would travel in clear text"
            reader.fault(node.section, "coordinator_url", problem)


def _try(reader: Reader, key: str, use: Callable[[], object]) -> None:
    try:
        use()
    except BadCertificate as error:
        reader.fault("security", key, str(error))


def _check_key(reader: Reader, path: Path) -> None:
    if path.is_file() and path.stat().st_mode & stat.S_IROTH:
        reader.fault("security", "tls_key", f"{path} can be read by everybody (chmod 600 it)")
