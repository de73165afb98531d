"""Settings of the server from flags, variables and a file; what the packaging says; the health check."""

import configparser
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from grpc import StatusCode

import harness
from certificates import Authority
from harness import Server, run
from test_limits import ENDLESS_COUNT

PACKAGING = Path(__file__).parents[2] / "packaging"

#: Flags of `serve` that are no settings: they say what to do with them.
ACTIONS = {"check_config", "print_config", "help"}

#: The lines of `--print-config`: what a file can say, and comments on what none can.
SETTING = re.compile(r"^(?P<name>\w+) = (?P<value>.*)  # (?P<origin>.*)$")
UNSET = re.compile(r"^# (?P<name>\w+) (?:is not set|= .*)  # (?P<origin>.*)$")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a test sets itself, and the program that is tested."""
    for name in list(os.environ):
        if name.startswith("DIDYMIUM_") and name != "DIDYMIUM_BIN":
            monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a file of settings."""

    def write(text: str) -> Path:
        file = tmp_path / "didymium.toml"
        file.write_text(text)
        return file

    return write


@dataclass
class Printed:
    """What `--print-config` prints."""

    values: dict[str, object]
    origins: dict[str, str]


def printed(*arguments: object) -> Printed:
    """The settings of a server that is not started."""
    done = run("serve", *arguments, "--print-config")
    assert done.returncode == 0, done.stderr
    origins = {}
    for line in done.stdout.splitlines():
        found = SETTING.match(line) or UNSET.match(line)
        assert found, f"neither a setting nor a comment on one: {line!r}"
        origins[found["name"]] = found["origin"]
    return Printed(tomllib.loads(done.stdout), origins)


def flags() -> set[str]:
    """Every flag of `serve`, as the file would call it."""
    help_text = run("serve", "--help").stdout
    names = re.findall(r"^ +(?:-\w, )?--([a-z][a-z-]*)", help_text, re.MULTILINE)
    return {name.replace("-", "_") for name in names}


def refused(*arguments: object, code: int = 78) -> str:
    """What a server says that does not start: for its settings, if no other code is told."""
    done = run("serve", *arguments)
    assert done.returncode == code, done
    assert done.stdout == ""
    assert "panicked" not in done.stderr
    return done.stderr


# Who counts before whom.


def test_flags_count_before_variables_before_the_file_before_defaults(
    config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ("--store", "anywhere")
    assert printed(*at).values["max_running"] == 8
    assert printed(*at).origins["max_running"] == "default"

    file = config("max_running = 3\n")
    told = printed(*at, "--config", file)
    assert (told.values["max_running"], told.origins["max_running"]) == (3, f"file {file}")

    monkeypatch.setenv("DIDYMIUM_MAX_RUNNING", "4")
    told = printed(*at, "--config", file)
    assert (told.values["max_running"], told.origins["max_running"]) == (4, "environment DIDYMIUM_MAX_RUNNING")

    told = printed(*at, "--config", file, "--max-running", "5")
    assert (told.values["max_running"], told.origins["max_running"]) == (5, "flag")


def test_the_file_may_be_named_by_a_variable(
    config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = config('store = "from the file"\n')
    monkeypatch.setenv("DIDYMIUM_CONFIG", str(file))
    told = printed()
    assert told.values["store"] == "from the file"
    assert told.origins["config"] == "environment DIDYMIUM_CONFIG"

    other = tmp_path / "other.toml"
    other.write_text('store = "from the other"\n')
    assert printed(f"--config={other}").values["store"] == "from the other"


def test_a_server_keeps_to_the_limits_of_the_file(
    config: Callable[[str], Path], serve: Callable[..., Server], store: Path
) -> None:
    server = serve(store, "--config", str(config('query_timeout = "1s"\n')))
    assert harness.failure(server.stub, ENDLESS_COUNT).code == StatusCode.DEADLINE_EXCEEDED


def test_a_switch_of_the_file_is_turned_off_by_a_variable(
    config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = config('store = "anywhere"\nplaintext = true\n')
    assert printed("--config", file).values["plaintext"] is True
    monkeypatch.setenv("DIDYMIUM_PLAINTEXT", "false")
    told = printed("--config", file)
    assert told.values["plaintext"] is False
    assert told.origins["plaintext"] == "environment DIDYMIUM_PLAINTEXT"


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIDYMIUM_MAX_RUNNING", "")
    told = printed("--store", "anywhere")
    assert told.origins["max_running"] == "default"


def test_parts_of_one_identity_may_come_from_different_places(
    config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, store: Path, tmp_path: Path
) -> None:
    Authority("Test").issue().write(tmp_path / "server.pem", tmp_path / "server.key")
    file = config(f"tls_key = {json.dumps(str(tmp_path / 'server.key'))}\n")
    done = run(
        "serve", "--check-config", "--config", file, "--store", store, "--tls-cert", tmp_path / "server.pem"
    )
    assert done.returncode == 0, done.stderr


# What is wrong is named.


@pytest.mark.parametrize(
    ("key", "meant"),
    [("max_runing", "max_running"), ("query-timeout", "query_timeout"), ("tls_certificate", "tls_cert")],
)
def test_an_unknown_key_is_refused_with_the_nearest(key: str, meant: str, config: Callable[[str], Path]) -> None:
    file = config(f'store = "anywhere"\n{key} = 4\n')
    message = refused("--config", file)
    assert f"{file}, line 2" in message
    assert key in message
    assert f"did you mean {meant}?" in message


@pytest.mark.parametrize("key", sorted(ACTIONS | {"config"}))
def test_what_is_no_setting_is_no_key(key: str, config: Callable[[str], Path]) -> None:
    message = refused("--config", config(f'store = "anywhere"\n{key} = true\n'))
    assert f"no setting {key}" in message


@pytest.mark.parametrize(
    "value",
    [
        "max_running = 0",
        'max_running = "many"',
        "max_running = true",
        "max_running = 1.5",
        "max_running = [1]",
        "max_running = 99999999999999999999",
        'memory = "much"',
        'query_timeout = "soon"',
        "query_timeout = 300",
        'auth = "maybe"',
        'plaintext = "yes"',
        "plaintext = 1",
        'store = "ftp://a/b"',
    ],
)
def test_a_bad_value_names_its_key_and_the_file(value: str, config: Callable[[str], Path]) -> None:
    file = config(f"# One comment.\n\n{value}\n")
    key = value.split()[0]
    at = [] if key == "store" else ["--store", "anywhere"]
    message = refused("--config", file, *at)
    assert f"{file}, line 3: {key}" in message


@pytest.mark.parametrize(
    ("variable", "value"),
    [("DIDYMIUM_MAX_RUNNING", "0"), ("DIDYMIUM_MEMORY", "much"), ("DIDYMIUM_PLAINTEXT", "perhaps")],
)
def test_a_bad_value_of_a_variable_names_it(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    assert variable in refused("--store", "anywhere")


def test_what_was_typed_is_judged_first(config: Callable[[str], Path]) -> None:
    file = config('max_running = 3\nlisten = "127.0.0.1:0"\n')
    typed = ("--max-running", "none", "--listen", "127.0.0.1:1")
    message = refused("--store", "anywhere", "--config", file, *typed, code=2)
    assert "'none'" in message
    assert "multiple" not in message


def test_settings_that_exclude_each_other_are_named(config: Callable[[str], Path]) -> None:
    file = config("plaintext = true\n")
    identity = ("--tls-cert", "server.pem", "--tls-key", "server.key")
    message = refused("--store", "anywhere", "--config", file, *identity)
    assert f"{file}, line 1: plaintext" in message
    assert "--tls-cert" in message


@pytest.mark.parametrize(
    "text", ["max_running 3\n", "max_running = 3\nmax_running = 4\n", '[limits]\nmax_running = 3\n', 'memory = "1GiB\n']
)
def test_what_is_no_file_of_settings_is_refused_with_the_line(text: str, config: Callable[[str], Path]) -> None:
    file = config(text)
    assert re.search(rf"{re.escape(str(file))}, line \d+: ", refused("--store", "anywhere", "--config", file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert str(missing) in refused("--store", "anywhere", "--config", missing)


def test_a_store_is_still_required(config: Callable[[str], Path]) -> None:
    assert "--store" in refused("--config", config("max_running = 3\n"), code=2)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('listen = "0.0.0.0:0"\nauth = "none"\nplaintext = true', "--auth token"),
        ('listen = "[::]:0"', "--tls-cert"),
        ('listen = "nonsense"', "line 1: listen"),
        ('listen = ":50051"', "line 1: listen"),
        ('role_limits = "reader: rows=1"', "line 1: role_limits"),
        ('otlp_endpoint = "collector of mine"', "http://HOST:PORT"),
        ('listen = "127.0.0.1:0"\nwebhook_allow = "nowhere"\nwebhook_key = "{key}"', "nowhere"),
    ],
)
def test_settings_that_keep_a_server_from_starting_are_78(
    text: str, named: str, config: Callable[[str], Path], store: Path, tmp_path: Path
) -> None:
    key = tmp_path / "webhook.key"
    key.write_bytes(bytes(range(32)))
    file = config(text.replace("{key}", str(key)) + "\n")
    for more in ([], ["--check-config"]):
        assert named in refused("--store", store, "--config", file, *more)


def test_what_may_be_there_later_is_1(config: Callable[[str], Path], store: Path, tmp_path: Path) -> None:
    file = config('listen = "127.0.0.1:0"\n')
    assert "nothing" in refused("--config", file, "--store", tmp_path / "nothing", code=1)
    identity = ("--tls-cert", tmp_path / "missing.pem", "--tls-key", tmp_path / "missing.key")
    assert "missing." in refused("--config", file, "--store", store, *identity, code=1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in refused("--config", config(f'listen = "{address}"\n'), "--store", store, code=1)


def test_a_wrong_command_line_is_still_2(store: Path) -> None:
    for typed in (["--listen", "nonsense"], ["--memory", "much"], ["--max-runing", "3"]):
        assert typed[0] in refused("--store", store, *typed, code=2)


def test_an_unknown_variable_is_warned_of(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    monkeypatch.setenv("DIDYMIUM_MAX_RUNING", "4")
    done = run("serve", "--store", store, "--check-config")
    assert done.returncode == 0, done.stderr
    assert "DIDYMIUM_MAX_RUNING" in done.stderr
    assert "did you mean DIDYMIUM_MAX_RUNNING?" in done.stderr


def test_variables_of_others_are_not_warned_of(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    for name in ("LOG", "TOKEN", "TOKEN_FILE", "URL", "TLS_CA", "MAX_WAITING"):
        monkeypatch.setenv(f"DIDYMIUM_{name}", "1" if name == "MAX_WAITING" else "warn")
    done = run("serve", "--store", store, "--check-config")
    assert done.returncode == 0, done.stderr
    assert "no setting" not in done.stderr


# --check-config.


def test_settings_that_will_do_are_0(store: Path) -> None:
    done = run("serve", "--store", store, "--check-config")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_check_takes_no_address(server: Server) -> None:
    done = run("serve", "--store", server.store, "--listen", server.target, "--check-config")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--memory", "much"], "much"),
        (["--listen", "nonsense"], "nonsense"),
        (["--listen", "0.0.0.0:0"], "--tls-cert"),
        (["--config", "missing.toml"], "missing.toml"),
        (["--tls-cert", "missing.pem", "--tls-key", "missing.key"], "missing."),
        (["--tls-cert", "missing.pem"], "--tls-key"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_settings_that_will_not_do_are_78(arguments: list[str], named: str, store: Path) -> None:
    message = refused("--check-config", "--store", store, *arguments)
    assert named in message


def test_a_key_of_the_file_that_nobody_knows_is_78(config: Callable[[str], Path], store: Path) -> None:
    assert "max_running" in refused("--check-config", "--store", store, "--config", config("max_runing = 3\n"))


def test_a_store_that_is_not_there_is_78(tmp_path: Path) -> None:
    message = refused("--check-config", "--store", tmp_path / "nothing")
    assert "nothing" in message
    assert not (tmp_path / "nothing").exists()


def test_certificates_are_loaded(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    check = ("--check-config", "--store", store, "--tls-cert", certificate, "--tls-key", key)
    authority = Authority("Test")
    authority.issue().write(certificate, key)
    assert run("serve", *check).returncode == 0

    key.chmod(0o644)
    assert "chmod 600" in refused(*check)

    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))  # systemd guards the folder
    assert run("serve", *check).returncode == 0

    authority.issue().write(tmp_path / "other.pem", key)  # the key of another certificate
    refused(*check)

    certificate.write_text("no certificate")
    assert str(certificate) in refused(*check)


# --print-config.


def test_every_flag_is_printed() -> None:
    told = printed("--store", "anywhere")
    assert set(told.origins) == flags() - ACTIONS
    assert set(told.values) <= set(told.origins)
    assert {name for name, origin in told.origins.items() if origin != "default"} == {"store"}


def test_what_is_printed_is_a_file_of_the_same_settings(config: Callable[[str], Path]) -> None:
    odd = 'a "store" # of odd \\ name'
    first = run("serve", "--store", odd, "--max-running", "3", "--query-timeout", "7s", "--print-config").stdout
    file = config(first)
    again = printed("--config", file)
    assert again.values == tomllib.loads(first)
    assert again.values["store"] == odd
    assert {again.origins[name] for name in again.values} == {f"file {file}"}


def test_printing_and_checking_exclude_each_other() -> None:
    refused("--store", "anywhere", "--print-config", "--check-config")


# What is packaged.


def test_the_example_will_do(store: Path, tmp_path: Path, config: Callable[[str], Path]) -> None:
    example = (PACKAGING / "didymium.toml").read_text()
    example = example.replace('"/var/lib/didymium/store"', json.dumps(str(store)))
    done = run("serve", "--config", config(example), "--check-config")
    assert done.returncode == 0, done.stderr

    authority = Authority("Test")
    authority.issue().write(tmp_path / "tls.crt", tmp_path / "tls.key")
    (tmp_path / "clients.crt").write_bytes(authority.certificate)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "webhook.key").write_bytes(bytes(range(32)))
    example = example.replace('"/var/lib/didymium/exports"', json.dumps(str(tmp_path / "exports")))
    example = re.sub(r"^#(?=\w+ = )", "", example, flags=re.MULTILINE).replace("/etc/didymium", str(tmp_path))
    file = config(example)
    assert set(tomllib.loads(example)) == flags() - ACTIONS - {"config"}
    done = run("serve", "--config", file, "--check-config")
    assert done.returncode == 0, done.stderr


def test_the_example_shows_the_defaults() -> None:
    example = re.sub(r"^#(?=\w+ = )", "", (PACKAGING / "didymium.toml").read_text(), flags=re.MULTILINE)
    shown = tomllib.loads(example)
    defaults = printed("--store", "anywhere")
    for name, value in defaults.values.items():
        if defaults.origins[name] == "default":
            assert shown[name] == value, name


def unit() -> configparser.SectionProxy:
    """What the unit says of the service."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    parser.read(PACKAGING / "didymium.service")
    assert set(parser.sections()) == {"Unit", "Service", "Install"}
    return parser["Service"]


def test_the_unit_shuts_the_service_in() -> None:
    service = unit()
    expected = {
        "Type": "exec",
        "DynamicUser": "yes",
        "StateDirectory": "didymium",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "CapabilityBoundingSet": "",
        "KillSignal": "SIGTERM",
        "Restart": "on-failure",
    }
    assert {name: service[name] for name in expected} == expected
    assert int(service["TimeoutStopSec"]) > 10, "running queries have 10 s to end"
    assert "MemoryMax" in service


def test_the_unit_does_not_restart_what_can_not_start() -> None:
    assert unit()["RestartPreventExitStatus"].split() == ["2", "78"]


def test_the_unit_starts_a_server_as_the_command_line_has_it() -> None:
    program, command, *options = shlex.split(unit()["ExecStart"])
    assert (program, command) == ("/usr/bin/didymium", "serve")
    assert options == ["--config", "/etc/didymium/didymium.toml"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = (PACKAGING / "didymium.service").read_text()
    own = tmp_path / "didymium.service"
    own.write_text(text.replace("/usr/bin/didymium", str(harness.binary())))
    done = subprocess.run(
        ["systemd-analyze", "verify", own], capture_output=True, text=True, timeout=harness.PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "didymium.service" not in done.stderr, "an unknown directive is only a warning"


#: https://docs.docker.com/reference/dockerfile/
INSTRUCTIONS = {
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "ONBUILD", "RUN"),
    *("SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
}


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of the container's build, stage by stage."""
    text = (PACKAGING / "Containerfile").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found: list[list[tuple[str, str]]] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        instruction, _, rest = line.partition(" ")
        assert instruction in INSTRUCTIONS, line
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, rest.strip()))
    return found


def test_the_container_runs_as_nobody_in_particular() -> None:
    build, last = stages()
    assert build[0][1].startswith("docker.io/library/rust:1.95")
    assert ("RUN", "cargo build --release --locked --package didymium") in build
    said = dict(last)
    assert said["USER"] not in ("", "0", "root")
    assert said["EXPOSE"] == "50051"
    assert said["VOLUME"] == "/var/lib/didymium"
    assert json.loads(said["ENTRYPOINT"]) == ["didymium"]
    assert json.loads(said["CMD"]) == ["serve"]
    instructions = [instruction for instruction, _ in last]
    assert "RUN" not in instructions[instructions.index("USER") :]


def test_the_container_is_built_of_what_is_there() -> None:
    build, last = stages()
    root = PACKAGING.parent
    for instruction, rest in build:
        if instruction == "COPY":
            *sources, _ = rest.split()
            assert all((root / source).exists() for source in sources), rest
    copied = [rest for instruction, rest in last if instruction == "COPY"]
    assert copied == ["--from=build /didymium/target/release/didymium /usr/bin/didymium"]


def test_the_container_asks_after_its_health() -> None:
    said = dict(stages()[-1])
    options, command = said["HEALTHCHECK"].split(" CMD ")
    assert all(option.startswith("--") for option in options.split())
    assert json.loads(command) == ["didymium", "health"]
    assert run(*json.loads(command)[1:], "--help").returncode == 0


def test_the_container_says_settings_that_there_are() -> None:
    said = dict(stages()[-1])
    names = {pair.partition("=")[0] for pair in shlex.split(said["ENV"])}
    assert names == {"DIDYMIUM_STORE", "DIDYMIUM_LISTEN"}
    assert {name.removeprefix("DIDYMIUM_").lower() for name in names} <= flags()


# The health check.


def test_a_server_that_serves_is_healthy(server: Server) -> None:
    done = run("health", "--url", server.url)
    assert (done.returncode, done.stdout) == (0, "serving\n"), done.stderr


def test_health_may_be_asked_by_a_variable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIDYMIUM_URL", server.url)
    assert run("health").returncode == 0


def test_health_takes_no_token(serve: Callable[..., Server], store: Path) -> None:
    server = serve(store, "--auth", "token")
    done = run("health", "--url", server.url)
    assert done.returncode == 0, done.stderr


def test_where_nobody_listens_health_is_3() -> None:
    done = run("health", "--url", "grpc://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (3, "")
    assert "grpc://127.0.0.1:1" in done.stderr


def test_where_nobody_answers_health_is_3() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"grpc://127.0.0.1:{silent.getsockname()[1]}"
        done = run("health", "--url", url)
    assert (done.returncode, done.stdout) == (3, "")
    assert url in done.stderr


def test_an_address_that_is_none_is_2() -> None:
    assert run("health", "--url", "localhost:50051").returncode == 2
