"""What a configuration file says, as typed values.

An INI file names the daemons by its sections; each key may be overridden by the environment
(`FACESERVICE_<SECTION>_<KEY>`, for `[node NAME]` `FACESERVICE_NODE_NAME_<KEY>`). Each key is declared once, in the
struct of its section: name, type, kind (how its text is read) and default. An empty value is the default.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Struct, field
from msgspec.structs import replace

from wire import kinds
from wire.faults import Fault, SettingsError
from wire.ini import PREFIX, Reader, read_file
from wire.rules import check_rules, resolve_secrets
from wire.tokens import Token
from wire.tx_targets import TxTarget

__all__ = [
    "CollectorSettings",
    "CoordinatorSettings",
    "DatabaseSettings",
    "Fault",
    "NodeSettings",
    "ReporterSettings",
    "SecuritySettings",
    "Settings",
    "SettingsError",
    "load",
]

PROGRAM_ROOT = Path(__file__).resolve().parent.parent
HIDDEN = "********"
LOOPBACK = ["127.0.0.0/8", "::1", "localhost"]  # hosts that a node on loopback may reach when its file names none


class Section(Struct, frozen=True, kw_only=True):
    """Base of all sections; secrets do not show in its repr."""

    def __repr__(self) -> str:
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        shown = (f"{n}={HIDDEN if v is not None and n in ('token', 'db_passwd') else repr(v)}" for n, v in values)
        return f"{type(self).__name__}({', '.join(shown)})"


class CoordinatorSettings(Section, frozen=True, kw_only=True):
    """[coordinator]"""

    coordinator_addr: Annotated[str, kinds.ADDR] = "127.0.0.1"
    coordinator_port: Annotated[int, kinds.PORT] = 9002  # 0: the kernel chooses
    node_path: Annotated[Path, kinds.PATH] = Path("config/nodes")
    handler_type_path: Annotated[Path, kinds.PATH] = Path("config/handlers")
    service_type_path: Annotated[Path, kinds.PATH] = Path("config/services")
    algorithm: Annotated[str, kinds.NAME] = "layered_dp"
    algorithms: Annotated[dict[str, str], kinds.ALGORITHMS] = {}  # a user's own: name -> "module:Class"
    algorithm_timeout: Annotated[float, kinds.SECONDS] = 5.0  # a decision that takes longer is refused
    heartbeat_timeout: Annotated[float, kinds.SECONDS] = 3.0  # a node silent for so long is down
    control_period: Annotated[float, kinds.SECONDS] = 1.0
    auto_register: Annotated[bool, kinds.FLAG] = True  # take nodes that node_path does not name
    token_file: Annotated[Path | None, kinds.PATH] = None  # what it shows to nodes; [security] token without
    token: str | None = None  # the content of token_file


class CollectorSettings(Section, frozen=True, kw_only=True):
    """[collector]"""

    collector_addr: Annotated[str, kinds.ADDR] = "127.0.0.1"
    collector_port: Annotated[int, kinds.PORT] = 9001
    node_path: Annotated[Path, kinds.PATH] = Path("config/nodes")
    retention_days: Annotated[int, kinds.COUNT] = 30
    packet_retention_hours: Annotated[int, kinds.COUNT] = 24


class NodeSettings(Section, frozen=True, kw_only=True):
    """[node] or [node NAME]"""

    section: str = "node"  # as the file has it: "node" or "node edge"
    node_id: Annotated[int, kinds.ID]
    node_name: Annotated[str, kinds.NAME] = ""  # the section's NAME, or node-<id>
    node_addr: Annotated[str, kinds.ADDR] = "127.0.0.1"  # others reach it by this address
    node_port: Annotated[int, kinds.PORT] = 9000  # control
    data_port: Annotated[int, kinds.PORT] = 9100  # frames
    listen_addr: Annotated[str, kinds.ADDR] = ""  # node_addr
    coordinator_url: Annotated[list[str], kinds.URLS] = field(default_factory=lambda: ["http://127.0.0.1:9002"])
    handler_type_path: Annotated[Path, kinds.PATH] = Path("config/handlers")
    model_path: Annotated[Path, kinds.PATH] = Path("models")
    gallery_path: Annotated[Path | None, kinds.PATH] = None  # a folder of <label>/*.jpg
    labels: Annotated[list[str], kinds.WORDS] = []
    zone: Annotated[str, kinds.TEXT] = ""
    watts_idle: Annotated[float | None, kinds.AMOUNT] = None
    watts_busy: Annotated[float | None, kinds.AMOUNT] = None
    cost_per_hour: Annotated[float | None, kinds.AMOUNT] = None
    cpus: Annotated[list[int], kinds.CORES] = []  # cores that handlers may use; empty: all
    handler_timeout: Annotated[float, kinds.SECONDS] = 10.0  # no progress for so long: stuck
    allowed_hosts: Annotated[list[str], kinds.HOSTS] = []  # for tx and capture; empty: LOOPBACK, or none (see _section)
    source_path: Annotated[list[Path], kinds.PATHS] = []  # folders of the files that capture may read; empty: samples
    handler_memory_mb: Annotated[int, kinds.SIZE_MB] = 0  # of a handler's process; 0: by its profile
    handler_environ: Annotated[list[str], kinds.WORDS] = []  # more variables of the environment that handlers get
    token_file: Annotated[Path | None, kinds.PATH] = None  # what it shows to all others; [security] token without
    token: str | None = None  # the content of token_file
    tx_targets_path: Annotated[Path | None, kinds.PATH] = None  # what tx handlers show to whom; see wire.tx_targets
    tx_targets: list[TxTarget] = []  # the content of tx_targets_path


class ReporterSettings(Section, frozen=True, kw_only=True):
    """[reporter], in a node's file"""

    enabled: Annotated[bool, kinds.FLAG] = True
    collector_addr: Annotated[str, kinds.ADDR] = "127.0.0.1"
    collector_port: Annotated[int, kinds.PORT] = 9001
    collect_info_period: Annotated[float, kinds.SECONDS] = 1.0
    send_report_period: Annotated[float, kinds.SECONDS] = 5.0
    packet_sample: Annotated[float, kinds.SHARE] = 1.0  # share of frames whose packet_info is kept
    spool_path: Annotated[Path, kinds.PATH] = Path("spool")  # the reporter appends the node's id
    spool_limit_mb: Annotated[int, kinds.SIZE_MB] = 256
    secure: bool = False  # the collector speaks TLS: so it does when [security] knows of TLS


class DatabaseSettings(Section, frozen=True, kw_only=True):
    """[database]"""

    db_engine: Annotated[str, kinds.one_of("sqlite", "mysql")] = "sqlite"
    db_addr: Annotated[str, kinds.ADDR] = "127.0.0.1"
    db_port: Annotated[int, kinds.PORT] = 3306
    db_user: Annotated[str, kinds.TEXT] = ""
    db_passwd: Annotated[str | None, kinds.SECRET] = None  # given, or the content of db_passwd_file
    db_passwd_file: Annotated[Path | None, kinds.PATH] = None
    db_schema: Annotated[str, kinds.TEXT] = ""
    db_path: Annotated[Path, kinds.PATH] = Path("run/faceservice.sqlite")  # for sqlite


class SecuritySettings(Section, frozen=True, kw_only=True):
    """[security]"""

    token: Annotated[str | None, kinds.SECRET] = None  # given, or the content of token_file
    token_file: Annotated[Path | None, kinds.PATH] = None
    tokens_path: Annotated[Path | None, kinds.PATH] = None  # tokens with a role each; see wire.tokens
    tokens: list[Token] = []  # the content of tokens_path
    tls_cert: Annotated[Path | None, kinds.PATH] = None  # PEM: what every listening port shows
    tls_key: Annotated[Path | None, kinds.PATH] = None
    tls_ca: Annotated[Path | None, kinds.PATH] = None  # PEM: whom to trust; the system's authorities without
    max_frame_mb: Annotated[int, kinds.SIZE_MB] = 32


class Settings(Struct, frozen=True, kw_only=True):
    """A whole file. Paths are absolute; `root` is where relative ones start."""

    root: Path
    path: Path
    environ: Mapping[str, str] = {}  # the overrides
    coordinator: CoordinatorSettings | None = None
    collector: CollectorSettings | None = None
    nodes: list[NodeSettings] = []
    reporter: ReporterSettings = ReporterSettings()
    database: DatabaseSettings | None = None
    security: SecuritySettings = SecuritySettings()

    def __repr__(self) -> str:
        shown = (n for n in self.__struct_fields__ if n != "environ")  # that holds secrets
        return f"Settings({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @property
    def tls(self) -> bool:
        """True when the daemons of this system speak TLS."""
        return self.security.tls_cert is not None or self.security.tls_ca is not None

    def node(self, name: str) -> NodeSettings | None:
        """Return the node of section `[node name]`; an empty name is `[node]`."""
        section = f"node {name}".strip()
        return next((node for node in self.nodes if node.section == section), None)


TYPES: dict[str, type[Section]] = {
    "coordinator": CoordinatorSettings,
    "collector": CollectorSettings,
    "node": NodeSettings,
    "reporter": ReporterSettings,
    "database": DatabaseSettings,
    "security": SecuritySettings,
}


def root_of(path: Path) -> Path:
    """Return the root of the repository that *path* lies in: the nearest folder above with a main.py, or ours."""
    return next((folder for folder in path.resolve().parents if (folder / "main.py").is_file()), PROGRAM_ROOT)


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Return what the file *path* and the overrides in *environ* say. Raises SettingsError with all faults."""
    root = root_of(path)
    reader = Reader(path, root, read_file(path), environ, TYPES)
    parts = {section: _section(reader, section) for section in reader.sections()}
    overrides = {name: text for name, text in environ.items() if name.startswith(PREFIX)}
    settings = replace(_settings(root, path, parts), environ=overrides)
    check_rules(settings, reader)
    if reader.faults:
        raise SettingsError(reader.faults)
    return settings


def _section(reader: Reader, section: str) -> Section | None:
    values = resolve_secrets(reader, section, reader.values(section))
    if not section.startswith("node"):
        return TYPES[section](**values)
    if "node_id" not in values:
        return None
    name = section.partition(" ")[2].strip() or f"node-{values['node_id']}"
    values["node_name"] = values["node_name"] or name
    values["listen_addr"] = values["listen_addr"] or values["node_addr"]
    if not values["allowed_hosts"] and kinds.is_loopback(values["listen_addr"]):
        values["allowed_hosts"] = list(LOOPBACK)
    values["source_path"] = values["source_path"] or [reader.root / "samples"]
    return NodeSettings(section=section, **values)


def _settings(root: Path, path: Path, parts: Mapping[str, Section | None]) -> Settings:
    found: dict[str, Any] = {name: part for name, part in parts.items() if not name.startswith("node")}
    if "database" not in found and ("coordinator" in found or "collector" in found):
        found["database"] = DatabaseSettings(db_path=root / "run/faceservice.sqlite")
    if "reporter" not in found:
        found["reporter"] = ReporterSettings(spool_path=root / "spool")
    security = found.get("security")
    if isinstance(security, SecuritySettings) and (security.tls_cert or security.tls_ca):
        found["reporter"] = replace(found["reporter"], secure=True)
    nodes = [part for part in parts.values() if isinstance(part, NodeSettings)]
    return Settings(root=root, path=path.resolve(), nodes=nodes, **found)
