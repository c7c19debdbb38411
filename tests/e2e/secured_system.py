"""A whole system with TLS and roles: coordinator, collector, node 1 as localhost and node 2 as 127.0.0.1."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests import certificates
from tests.conftest import COLLECTOR, COORDINATOR, DATABASE, NODE, StartDaemon
from tests.daemons import ROOT, Daemon
from wire.access import Role
from wire.tokens import new_token

PATIENCE_S = 20.0
HOSTS = {"coordinator": "localhost", "collector": "localhost", "edge": "localhost", "server": "127.0.0.1"}
HOLDERS: dict[str, tuple[Role, int | None]] = {
    "coordinator": (Role.COORDINATOR, None),
    "edge": (Role.NODE, 1),
    "server": (Role.NODE, 2),
    "camera": (Role.CLIENT, None),
    "door": (Role.CLIENT, None),
    "admin": (Role.OPERATOR, None),
    "relay": (Role.CLIENT, None),  # what node 2's tx handlers show to node 1
}
SECURITY = """
[security]
tokens_path = {folder}/tokens
tls_cert = {folder}/tls/{host}.pem
tls_key = {folder}/tls/{host}.key
tls_ca = {folder}/tls/ca.pem
"""


@dataclass
class Secured:
    """The running system, and every token that it has ever had."""

    folder: Path
    daemons: dict[str, Daemon] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)  # of today, by holder
    lines: dict[str, str] = field(default_factory=dict)  # of the file, by holder
    shared: str = "everything-is-allowed-by-this"  # a token of all roles, which the nodes have by their environment
    secrets: set[str] = field(default_factory=set)  # all tokens

    @property
    def url(self) -> str:
        """The coordinator's."""
        return self.daemons["coordinator"].url

    @property
    def ca(self) -> str:
        """The authority that all certificates come from."""
        return str(self.folder / "tls/ca.pem")

    def renew(self, holder: str) -> str:
        """Return another token for *holder*; nobody knows it yet."""
        role, node_id = HOLDERS[holder]
        token, lines = new_token(holder, role, node_id)
        self.secrets.add(token)
        self.tokens[holder], self.lines[holder] = token, lines
        return token

    def write(self, *more: str) -> None:
        """Write the file of tokens: those of today, and *more* sections."""
        (self.folder / "tokens").write_text("\n".join([*self.lines.values(), *more]) + "\n")
        (self.folder / "tokens").chmod(0o600)

    def write_own(self, name: str) -> None:
        """Give the daemon *name* its token of today."""
        path = self.folder / f"{name}.token"
        path.write_text(self.tokens[name] + "\n")
        path.chmod(0o600)

    def hang_up(self, *names: str) -> None:
        """Have daemons (all, if none is named) read their files again; returns when their processes have said so."""
        chosen = {name: self.daemons[name] for name in names or self.daemons}
        before = {name: daemon.log.read_text().count("SIGHUP: ") for name, daemon in chosen.items()}
        for daemon in chosen.values():
            daemon.process.send_signal(signal.SIGHUP)
        for name, daemon in chosen.items():
            workers = 2 if name == "collector" else 1
            wait_for(lambda d=daemon, n=before[name] + workers: d.log.read_text().count("SIGHUP: ") >= n)  # type: ignore[misc]

    def call(self, method: str, url: str, holder: str | None, body: object = None) -> requests.Response:
        """Return the answer to *method* at *url* with *holder*'s token (a token itself will do)."""
        token = None if holder is None else self.tokens.get(holder, holder)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.request(method, url, json=body, headers=headers, verify=self.ca, timeout=30)


def wait_for(done: Callable[[], bool]) -> None:
    """Return when *done* does."""
    until = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < until
        time.sleep(0.05)


def secured(begin: StartDaemon, folder: Path) -> Secured:
    """Start the system."""
    certificates.make(folder / "tls", *sorted(set(HOSTS.values())))
    system = Secured(folder)
    system.secrets.add(system.shared)
    for holder in HOLDERS:
        system.renew(holder)
    system.write()
    for name in ("coordinator", "edge", "server", "relay"):
        system.write_own(name)
    (folder / "targets").write_text("")
    environ: dict[str, str] = {}
    for name, text in _texts(folder).items():
        own = {k.replace("NAME", name.upper()): v for k, v in environ.items()}
        daemon = system.daemons[name] = begin(text, own, name)
        port = daemon.url.rpartition(":")[2]
        if name == "coordinator":
            environ["FACESERVICE_NODE_NAME_COORDINATOR_URL"] = daemon.url
        elif name == "collector":
            environ["FACESERVICE_REPORTER_COLLECTOR_PORT"] = port
            environ["FACESERVICE_REPORTER_COLLECTOR_ADDR"] = "localhost"
            environ["FACESERVICE_SECURITY_TOKEN"] = system.shared  # of the nodes alone
        elif name == "edge":
            known = f"[{daemon.data_url}]\ntoken_file = {folder}/relay.token\ntls_ca = {folder}/tls/ca.pem\n"
            (folder / "targets").write_text(known)
    wait_for(lambda: up(system) == {1, 2})
    return system


def _texts(folder: Path) -> dict[str, str]:
    addr = "{name}_addr = localhost\n"
    own = "token_file = {folder}/{name}.token\n"
    parts = {
        "coordinator": COORDINATOR + addr.format(name="coordinator") + own + DATABASE,
        "collector": COLLECTOR + addr.format(name="collector") + DATABASE,
        "edge": _node("edge", 1),
        "server": _node("server", 2),
    }
    return {
        name: (text + SECURITY).replace("{host}", HOSTS[name]).replace("{name}", name).format(folder=folder, root=ROOT)
        for name, text in parts.items()
    }


def _node(name: str, node_id: int) -> str:
    own = f"node_addr = {HOSTS[name]}\ntoken_file = {{folder}}/{{name}}.token\ntx_targets_path = {{folder}}/targets\n"
    own += "\n[reporter]"
    return NODE.replace("{node_id}", str(node_id)).replace("[reporter]", own)


def up(system: Secured) -> set[int]:
    """Return the nodes that the coordinator finds up."""
    nodes = system.call("GET", f"{system.url}/nodes", "admin").json()["nodes"]
    return {node["node_id"] for node in nodes if node["state"] == "up"}
