"""Configuration files: every fault at once, overrides, defaults, secrets."""

from pathlib import Path

import pytest

from wire.access import Role
from wire.guard import access_of
from wire.settings import PROGRAM_ROOT, Settings, SettingsError, load
from wire.tokens import Token
from wire.tx_targets import find


def write(folder: Path, text: str) -> Path:
    path = folder / "test.conf"
    path.write_text(text)
    return path


def faults(folder: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(write(folder, text), environ)
    return [str(fault).removeprefix(f"{folder}/test.conf: ") for fault in caught.value.faults]


def read(folder: Path, text: str, **environ: str) -> Settings:
    return load(write(folder, text), environ)


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = read(tmp_path, "[coordinator]\n[node]\nnode_id = 3\n")
    assert settings.coordinator and settings.database
    assert (settings.coordinator.coordinator_addr, settings.coordinator.coordinator_port) == ("127.0.0.1", 9002)
    assert settings.coordinator.heartbeat_timeout == 3.0
    assert settings.coordinator.service_type_path == PROGRAM_ROOT / "config/services"
    node = settings.nodes[0]
    assert (node.node_name, node.listen_addr, node.node_port, node.data_port) == ("node-3", "127.0.0.1", 9000, 9100)
    assert node.coordinator_url == ["http://127.0.0.1:9002"]
    assert settings.reporter.spool_path == PROGRAM_ROOT / "spool"
    assert settings.database.db_engine == "sqlite"
    assert settings.database.db_path == PROGRAM_ROOT / "run/faceservice.sqlite"


def test_relative_paths_start_at_the_root_of_the_repository_that_holds_the_file(tmp_path: Path) -> None:
    (tmp_path / "main.py").touch()
    (tmp_path / "config").mkdir()
    settings = read(tmp_path / "config", "[collector]\nnode_path = my/nodes\n")
    assert settings.collector and settings.collector.node_path == tmp_path / "my/nodes"


def test_all_faults_come_at_once_each_with_section_key_allowed_and_a_guess(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        "[coordinator]\ncoordinator_port = ninety\ncoordinater_addr = x\n[colector]\n[node edge]\n",
        FACESERVICE_NODE_EDGE_DATA_PORT="70000",
    )
    assert "[coordinator] coordinator_port: 'ninety' is wrong; allowed: a whole number from 0 to 65535" in found
    assert "[coordinator] coordinater_addr: unknown key; did you mean 'coordinator_addr'?" in found
    assert any(fault.startswith("[colector]: unknown section") and "'collector'?" in fault for fault in found)
    assert "[node edge] node_id: is missing; allowed: a whole number from 0 to 2147483647" in found
    assert any("data_port: '70000' is wrong (from FACESERVICE_NODE_EDGE_DATA_PORT)" in fault for fault in found)
    assert len(found) == 5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("node_port", "-1"),
        ("node_port", "nan"),
        ("node_addr", "a b"),
        ("coordinator_url", "ftp://x"),
        ("coordinator_url", "http://x:99999"),
        ("handler_timeout", "0"),
        ("handler_timeout", "inf"),
        ("cpus", "0-"),
        ("cpus", "4000"),
        ("cpus", "1-0"),
        ("watts_idle", "much"),
        ("allowed_hosts", "http://a"),
        ("allowed_hosts", "10.0.0.1/8"),
        ("allowed_hosts", "a, -b"),
    ],
)
def test_a_wrong_value_is_one_fault_that_names_its_key(tmp_path: Path, key: str, value: str) -> None:
    found = faults(tmp_path, f"[node]\nnode_id = 1\n{key} = {value}\n")
    assert len(found) == 1 and found[0].startswith(f"[node] {key}: "), found


def test_lists_are_read(tmp_path: Path) -> None:
    text = "[node]\nnode_id=1\ncoordinator_url = http://a:1, http://b:2/\nlabels = gpu, big\ncpus = 0,0-0\n"
    node = read(tmp_path, text).nodes[0]
    assert (node.coordinator_url, node.labels, node.cpus) == (["http://a:1", "http://b:2"], ["gpu", "big"], [0])
    settings = read(tmp_path, "[coordinator]\nalgorithms =\n    mine = my.place:Mine\n    two = b:C\n")
    assert settings.coordinator and settings.coordinator.algorithms == {"mine": "my.place:Mine", "two": "b:C"}


def test_a_node_on_loopback_reaches_its_own_machine_and_others_what_is_named(tmp_path: Path) -> None:
    assert read(tmp_path, "[node]\nnode_id=1\n").nodes[0].allowed_hosts == ["127.0.0.0/8", "::1", "localhost"]
    named = "[node]\nnode_id=1\nallowed_hosts = Camera.lan, 10.0.0.0/8, fd00::/8, *\n"
    assert read(tmp_path, named).nodes[0].allowed_hosts == ["camera.lan", "10.0.0.0/8", "fd00::/8", "*"]
    public = "[node]\nnode_id=1\nnode_addr=10.0.0.1\n[security]\ntoken=t\n"
    assert read(tmp_path, public).nodes[0].allowed_hosts == []


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    text = "[collector]\n[node]\nnode_id=1\n[node edge 2]\nnode_id=2\n".replace("edge 2", "edge-2")
    settings = read(
        tmp_path,
        text,
        FACESERVICE_COLLECTOR_COLLECTOR_PORT="0",
        FACESERVICE_NODE_NODE_PORT="7",
        FACESERVICE_NODE_EDGE_2_NODE_PORT="8",
        FACESERVICE_NODE_EDGE_2_DATA_PORT="9",
        FACESERVICE_SECURITY_TOKEN="t",
        FACESERVICE_COORDINATOR_COORDINATOR_PORT="5",
        FACESERVICE_URL="http://x",
    )
    assert settings.collector and settings.collector.collector_port == 0
    assert [node.node_port for node in settings.nodes] == [7, 8]
    assert settings.security.token == "t"
    assert settings.coordinator is None, "the environment starts no daemon"


def test_a_misspelt_override_is_a_fault(tmp_path: Path) -> None:
    found = faults(tmp_path, "[collector]\n", FACESERVICE_COLLECTOR_COLECTOR_PORT="1")
    assert found == [
        "[collector] colector_port: unknown key (from FACESERVICE_COLLECTOR_COLECTOR_PORT);"
        " did you mean 'collector_port'?"
    ]


@pytest.mark.parametrize("section", ["coordinator]\ncoordinator_addr", "collector]\ncollector_addr"])
def test_without_a_token_only_loopback_is_listened_on(tmp_path: Path, section: str) -> None:
    found = faults(tmp_path, f"[{section} = 0.0.0.0\n")
    assert len(found) == 1 and "0.0.0.0 is not loopback" in found[0]
    read(tmp_path, f"[{section} = 0.0.0.0\n[security]\ntoken = secret\n")
    for addr in ("::1", "localhost", "127.3.2.1"):
        read(tmp_path, f"[{section} = {addr}\n")


def test_a_node_without_a_token_stays_on_loopback_too(tmp_path: Path) -> None:
    assert faults(tmp_path, "[node]\nnode_id=1\nnode_addr=10.0.0.1\n")[0].startswith("[node] node_addr: ")
    assert faults(tmp_path, "[node]\nnode_id=1\nlisten_addr=0.0.0.0\n")[0].startswith("[node] listen_addr: ")


def test_secrets_never_show(tmp_path: Path) -> None:
    text = "[collector]\n[security]\ntoken = geheim1\n[database]\ndb_engine=mysql\ndb_user=u\ndb_schema=s\n"
    settings = read(tmp_path, text + "db_passwd = geheim2\n")
    assert settings.database and settings.database.db_passwd == "geheim2"
    shown = repr(settings)
    assert "geheim" not in shown and shown.count("********") == 2


def test_secrets_come_from_files(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("abc\n")
    secret.chmod(0o600)
    text = f"[collector]\n[security]\ntoken_file = {secret}\n"
    assert read(tmp_path, text).security.token == "abc"
    assert "token too" in faults(tmp_path, text + "token = x\n")[0]
    secret.chmod(0o644)
    assert "everybody" in faults(tmp_path, text)[0]
    secret.unlink()
    assert "No such file" in faults(tmp_path, text)[0]


def test_mysql_needs_user_and_schema(tmp_path: Path) -> None:
    found = faults(tmp_path, "[collector]\n[database]\ndb_engine = mysql\n")
    assert [fault.partition(":")[0] for fault in found] == ["[database] db_user", "[database] db_schema"]


def test_ids_and_ports_are_given_once(tmp_path: Path) -> None:
    found = faults(tmp_path, "[node a]\nnode_id=1\n[node b]\nnode_id=1\n")
    assert any("node_id: 1 is taken by [node a]" in fault for fault in found)
    assert any("port 9000 of 127.0.0.1 is taken by [node a]" in fault for fault in found)


def test_certificates_that_cannot_be_used_are_faults(tmp_path: Path) -> None:
    """A configured TLS key that did nothing would be a lie."""
    missing = faults(tmp_path, "[collector]\n[security]\ntls_cert = x.pem\n")
    assert missing == ["[security] tls_key: is missing: tls_cert and tls_key belong together"]
    (tmp_path / "x.pem").write_text("no certificate")
    (tmp_path / "x.key").write_text("no key")
    (tmp_path / "x.key").chmod(0o644)
    files = {"cert": "x.pem", "key": "x.key", "ca": "x.pem"}
    named = "\n".join(f"tls_{key} = {tmp_path}/{file}" for key, file in files.items())
    found = faults(tmp_path, f"[node]\nnode_id=1\n[security]\n{named}\n")
    assert len(found) == 4
    assert "are no certificate with its key" in found[0] and "can be read by everybody" in found[1]
    assert "holds no certificate of an authority" in found[2] and "is not https" in found[3]


TOKENS = """
[camera]
sha256 = {a}
role = client
[edge]
sha256 = {b}
role = node
node_id = 1
"""


def test_tokens_with_roles_are_read_and_lift_the_loopback_rule(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(TOKENS.format(a="a" * 64, b="B" * 64))
    (tmp_path / "own").write_text("secret-of-node-1\n")
    (tmp_path / "own").chmod(0o600)
    security = f"[security]\ntokens_path = {tmp_path}/tokens\n"
    node = f"[node]\nnode_id=1\nnode_addr=10.0.0.1\ntoken_file = {tmp_path}/own\n"
    settings = read(tmp_path, node + security)
    assert settings.security.tokens == [
        Token("camera", "a" * 64, Role.CLIENT),
        Token("edge", "b" * 64, Role.NODE, 1),
    ]
    access = access_of(settings.security, settings.nodes[0].token)
    assert access.own == "secret-of-node-1" and "secret" not in repr(settings) + repr(access)
    both = access_of(read(tmp_path, node + security + "token = all\n").security)
    assert [t.name for t in both.tokens] == ["camera", "edge", ""] and both.own == "all"


def test_a_daemon_that_calls_others_needs_a_token_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(TOKENS.format(a="a" * 64, b="b" * 64))
    found = faults(tmp_path, f"[coordinator]\n[node]\nnode_id=1\n[security]\ntokens_path = {tmp_path}/tokens\n")
    assert [fault.partition(":")[0] for fault in found] == ["[coordinator] token_file", "[node] token_file"]
    assert all("role" in fault for fault in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no token"),
        ("[a]\nsha256 = 12\nrole = client\n", "[a] sha256: its value is wrong; allowed: 64 hex digits"),
        ("[a]\nrole = client\n", "[a] sha256: is missing"),
        (f"[a]\nsha256 = {'0' * 64}\nrole = cleint\n", "did you mean 'client'?"),
        (f"[a]\nsha256 = {'0' * 64}\nrole = node\n", "[a] node_id: is missing"),
        (f"[a]\nsha256 = {'0' * 64}\nrole = node\nnode_id = -1\n", "[a] node_id: '-1' is wrong"),
        (f"[a]\nsha256 = {'0' * 64}\nrole = client\nnode_id = 1\n", "speaks for no node"),
        (f"[a]\nsha256 = {'0' * 64}\nrole = client\nnodeid = 1\n", "[a] nodeid: unknown key; did you mean 'node_id'?"),
        (f"[a b]\nsha256 = {'0' * 64}\nrole = client\n", "is no name of a token"),
        (f"[a]\nsha256 = {'0' * 64}\nrole = client\n[b]\nsha256 = {'0' * 64}\nrole = client\n", "of [a] again"),
        ("[a]\nsha256 = x\n[a]\n", "already exists"),
        ("no section\n", "no section headers"),
    ],
)
def test_a_wrong_file_of_tokens_is_named_with_its_fault(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "tokens").write_text(text)
    found = faults(tmp_path, f"[collector]\n[security]\ntokens_path = {tmp_path}/tokens\n")
    assert len(found) == 1 and said in found[0] and str(tmp_path / "tokens") in found[0], found


def test_targets_of_tx_are_read_and_found_by_their_place_alone(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("what is shown there\n")
    (tmp_path / "own").chmod(0o600)
    (tmp_path / "targets").write_text(f"[https://b.lan:9100]\ntoken_file = {tmp_path}/own\n")
    settings = read(tmp_path, f"[node]\nnode_id=1\ntx_targets_path = {tmp_path}/targets\n")
    targets = settings.nodes[0].tx_targets
    assert [(t.url, t.token, t.ca) for t in targets] == [("https://b.lan:9100", "what is shown there", None)]
    assert "what is shown" not in repr(settings) + repr(targets)
    for url in ("https://b.lan:9100/sessions/1/k", "https://B.LAN:9100", "https://x@b.lan:9100/"):
        assert find(targets, url) is targets[0], url
    for url in ("http://b.lan:9100/", "https://b.lan/", "https://b.lan:9101/", "https://b.lan.evil:9100/"):
        assert find(targets, url) is None, url
    for url in (
        "https://evil/https://b.lan:9100",
        "https://b.lan:9100@evil/",
        "b.lan:9100",
        "https://b.lan:99999/",
        "",
    ):
        assert find(targets, url) is None, url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[https://b.lan/path]\ntoken_file = own\n",
            "is no place to post to; allowed: http(s)://HOST:PORT without a path",
        ),
        ("[b.lan]\ntoken_file = own\n", "is no place to post to"),
        ("[https://b]\ntoken_file = own\n[https://b:443]\ntoken_file = own\n", "[https://b:443]: is named twice"),
        ("[https://b]\n", "[https://b] token_file: is missing"),
        ("[https://b]\ntoken_file = own\ntls_ca = none.pem\n", "[https://b] tls_ca: there is no file"),
        ("[https://b]\ntoken_file = own\ntoken = x\n", "[https://b] token: unknown key"),
        ("[https://b]\ntoken_file = open\n", "can be read by everybody (chmod 600 it)"),
    ],
)
def test_a_wrong_file_of_targets_is_named_with_its_fault(tmp_path: Path, text: str, said: str) -> None:
    for name, mode in (("own", 0o600), ("open", 0o644)):
        (tmp_path / name).write_text("a line\n")
        (tmp_path / name).chmod(mode)
    placed = text.replace("token_file = ", f"token_file = {tmp_path}/").replace("tls_ca = ", f"tls_ca = {tmp_path}/")
    (tmp_path / "targets").write_text(placed)
    found = faults(tmp_path, f"[node]\nnode_id=1\ntx_targets_path = {tmp_path}/targets\n")
    assert len(found) == 1 and said in found[0] and str(tmp_path / "targets") in found[0], found


def test_a_file_of_tokens_that_everybody_reads_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tokens").write_text(TOKENS.format(a="a" * 64, b="b" * 64))
    for mode, warned in ((0o600, False), (0o604, True)):
        (tmp_path / "tokens").chmod(mode)
        read(tmp_path, f"[collector]\n[security]\ntokens_path = {tmp_path}/tokens\n")
        assert ("can be read by everybody" in caplog.text) is warned


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no section\n", "no section headers"),
        (b"[collector]\n[collector]\n", "already exists"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "no daemon to start"),
        (b"[DEFAULT]\na=1\n", "unknown section"),
    ],
)
def test_what_is_no_configuration_is_said_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "test.conf"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    assert said in str(caught.value) and "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.conf: cannot be read: No such file"):
        load(tmp_path / "none.conf", {})
