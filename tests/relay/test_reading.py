"""Configuration: from a file, the environment, and code; and what is said when it is wrong."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmachine_relay import Config, Limits, Op, RelayConfigError, Target
from asyncmachine_relay.config import Debug, Operation, Server
from asyncmachine_relay.doubts import doubts
from asyncmachine_relay.reading import ConfigProblems, Where, examine, parse, read, variables
from asyncmachine_relay.secret_files import secret_of


def problems(text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigProblems) as error:
        parse(text, "relay.toml", env)
    return list(error.value.problems)


def test_nothing_at_all_is_loopback_own_origin_and_no_targets() -> None:
    config = parse("")
    assert config == Config()
    assert (config.server.host, config.server.origins, config.server.proxies) == ("127.0.0.1", (), ())
    assert (config.targets, config.dbg.ingest, config.limits) == ((), False, Limits())


def test_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    file = tmp_path / "relay.toml"
    file.write_text(
        """
        name = "edge"
        [server]
        port = 14050
        origins = ["https://app.example"]
        proxies = ["127.0.0.1", "10.0.0.0/8"]
        authorize = "app.door:authorize"
        secret_file = "secret"
        [pages]
        roots = ["site"]
        mounts = { "/app/" = "site" }
        csp = { "/app/" = "pyscript" }
        isolation = false
        [limits]
        tunnels = 2000
        idle = 60
        [operation]
        drain = 2.5
        log = "json"
        address_dir = "tmp"
        [dbg]
        ingest = true
        forward = ["ws://localhost:6831/dbg.ws"]
        [[targets]]
        name = "backend"
        host = "127.0.0.1"
        port = 14000
        [[targets]]
        name = "repl"
        host = "127.0.0.1"
        port = "14100-14199"
        ops = ["listen"]
        ids = 'repl-.+'
        raw = true
        """
    )
    config = read(file, {})
    assert config.id == "relay-edge"
    assert (config.server.port, config.server.proxies) == (14050, ("127.0.0.1", "10.0.0.0/8"))
    assert config.server.secret_file == tmp_path / "secret"
    assert config.pages.static == [("/app/", tmp_path / "site"), tmp_path / "site"]
    assert config.limits == Limits(tunnels=2000, idle=60)
    assert config.operation == Operation(drain=2.5, log="json", address_dir=tmp_path / "tmp")
    assert config.dbg.forward == ("ws://localhost:6831/dbg.ws",)
    assert config.targets == (
        Target("backend", "127.0.0.1", 14000),
        Target("repl", "127.0.0.1", "14100-14199", ops=(Op.LISTEN,), ids="repl-.+", raw=True),
    )


def test_every_mistake_is_told_with_its_line_and_its_cure() -> None:
    assert problems(
        """name = "x"
[server]
port = "a"
prot = 1
origins = ["https://app.example/path"]
[limits]
tunnels = -1
idle = true
[operation]
drain = 99
log = "xml"
[[targets]]
name = "a"
host = "127.0.0.1"
port = 14000
ops = ["dial", "liste"]

[[targets]]
name = "b"
port = 70000
host = "10.0.0.1"
[[targets]]
name = "c"
port = 1
"""
    ) == [
        "relay.toml:3: server.port: expected a whole number, got a text; write a number, as port = 12733",
        "relay.toml:4: server.prot: unknown; did you mean port?",
        (
            "relay.toml:5: server.origins: origin 'https://app.example/path' is no origin: write scheme, host and "
            "port, as http://127.0.0.1:8080"
        ),
        "relay.toml:7: limits.tunnels: limit tunnels=-1 must be greater than 0",
        "relay.toml:8: limits.idle: expected a number, got true or false; write a number, as idle = 120",
        "relay.toml:10: operation.drain: drain 99 must be 0 to 8 seconds",
        'relay.toml:11: operation.log: log \'xml\' must be "text" or "json"',
        (
            'relay.toml:16: targets[0].ops: \'liste\' is none of "listen", "dial"; write a list, as ops = ["listen", '
            '"dial"]'
        ),
        (
            "relay.toml:20: targets[1].port: target 'b': port 70000 must be a number up to 65535, or a range as "
            '"14100-14199"'
        ),
        'relay.toml:22: targets[2]: host is missing; write a text, as host = "…"',
    ]
    assert problems("[server]\norigins = [\n  'https://a.example/path',\n]\n") == [
        (
            "relay.toml:2: server.origins: origin 'https://a.example/path' is no origin: write scheme, host and port, "
            "as http://127.0.0.1:8080"
        )
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = 1\n[server\n", "relay.toml:2: "),
        ("[server]\nport = 1\nport = 2\n", "relay.toml:3: "),
        ("server = 1", "relay.toml:1: server: must be a table: write [server]"),
        ("[targets]\nx = 1", "relay.toml:1: targets: must be a list of tables: write [[targets]]"),
        ("targets = [1]", "relay.toml:1: targets[0]: must be a table"),
        ("[limit]\n", "relay.toml:1: limit: unknown; did you mean limits?"),
        (
            "zzz = 1",
            "zzz: unknown; there is cluster, dbg, limits, meetings, name, operation, pages, server, targets",
        ),
        ("[pages]\nroots = ['/no/such/place']", "relay.toml:2: pages.roots: /no/such/place is no directory"),
        ("[pages]\nroots = [1]", "relay.toml:2: pages.roots: expected a text, got a whole number; write a list"),
        ("[pages]\ncsp = { app = 'strict' }", "csp prefix 'app' must start with a slash"),
        ("[pages]\ncsp = { '/app' = 'open' }", "csp 'open' is no policy: strict, pyscript"),
        ("[pages]\ncsp = 1", 'write a table, as csp = { "/" = "…" }'),
        ("[server]\nauthorize = 'app'", "must be written as package.module:function"),
        ("[server]\nproxies = ['all']", "'all' is no network"),
        ("[server]\nport = 70000", "port 70000 must be 0 (any free one) to 65535"),
        ("[server]\nmove = 'yes'", "write true or false"),
        ("[operation]\nlog = 'xml'", 'log \'xml\' must be "text" or "json"'),
        ("[operation]\nloop = 'uv'", 'loop \'uv\' must be "auto" or "asyncio"'),
        ("[dbg]\nbase = '../x'", "must be the beginning of a file name"),
        ("[dbg]\nmax_files = 0", "max_files 0 must be greater than 0"),
        ("[limits]\nbuffer_low = 2097152", "relay.toml:2: limits.buffer_low: "),
        (
            2 * "[[targets]]\nname='x'\nhost='127.0.0.1'\nport=1\n",
            "relay.toml:6: targets[1].name: target 'x' is there twice",
        ),
        ("[[targets]]\nname='x'\nhost='localhost'\nport=1\n[[meetings]]\nname='x'", "relay.toml:6: meetings[0].name: "),
        ("[target]\n", "target: unknown; did you mean [[targets]]?"),
        ("\n\n[[target]]\nname = 'x'\n", "relay.toml:3: target: unknown; did you mean [[targets]]?"),
        (
            "[server]\nhosts = ['https://x']",
            "relay.toml:2: server.hosts: host 'https://x' is no Host header: write name or name:port, as x",
        ),
        (
            "[[meetings]]\nname='x'\nids='*'",
            "ids '*' is no regular expression: nothing to repeat at position 0; for any characters write .*",
        ),
        ("[limits]\nxyzzy = 1", "limits.xyzzy: unknown; there is body, buffer_high, buffer_low, bytes_per_second, "),
        ("port = 1", "port: unknown here; it belongs below [server] or [[targets]]"),
        ("[server]\nlog = 'json'", "server.log: unknown here; it belongs below [operation]"),
        ("[limits]\nrate = 1", "limits.rate: unknown; did you mean over_rate?"),
        ("[server]\norigins = 'https://a.example'", 'write a list, as origins = ["https://a.example"]'),
        ("[limits]\nidle = '2m'", "write a number, as idle = 120 (times are in seconds"),
        ("[limits]\ntunnels = 1.5", "expected a whole number, got a number with a point"),
        ("[[targets]]\nname='x'\nhost='localhost'\nport=true", "write a number, or a text in quotes: port = 14000"),
        ("[server]\nhost = 127.0.0.1\n", "relay.toml:2: 'host = 127.0.0.1': Expected newline"),
        ("[server]\nhost = localhost\n", "Invalid value; texts stand in quotes"),
        ("[server]\norigins = [", "Invalid value; what begins above has no end: a list its ], or a setting its value"),
        ("[server]\nhosts = [\n'a'\nport = 1\n", "a list that begins above has no ]"),
        ('[server]\nhost = "a\n', 'a text has no " at its end'),
        ("[server\n", "a header ends with ]"),
        (
            "[server]\nport = 1\nport = 2\n",
            "relay.toml:3: 'port = 2': Cannot overwrite a value; this key is there already",
        ),
        ("[server]\n[server]\n", "this table is there already"),
        ("port\n", "after a key stands = and its value"),
        (f"[server]\nport = {'9' * 5000}\n", "relay.toml:2: a number has too many digits"),
        (
            f"[server]\nport = 0x{'f' * 5000}\n",
            "relay.toml:2: server.port: the number is too large; write a number, as",
        ),
        (f"[dbg]\nmax_bytes = {2**63}\n", "relay.toml:2: dbg.max_bytes: the number is too large; write a number, as"),
        (f"name = 'x'\nx = {'[' * 3000}", "relay.toml:2: lists or tables are nested too deeply"),
    ],
)
def test_a_mistake_has_a_line_and_a_cure(text: str, says: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert says in found[0]


def test_all_mistakes_of_a_record_are_told_at_once_and_none_that_another_one_explains() -> None:
    found = problems(
        """
[[targets]]
name = "back end"
host = "http://127.0.0.1"
port = 0
ops = ["liste"]
ids = "browser["
[[targets]]
host = "localhost"
port = 70000
[limits]
buffer_low = 2000000
buffer_high = "4 MiB"
token = 61
"""
    )
    said = [
        "relay.toml:3: targets[0].name: target 'back end': name 'back end' must have 1 to 255 characters",
        "relay.toml:4: targets[0].host: target 'back end': host 'http://127.0.0.1' must be a host's name",
        "relay.toml:6: targets[0].ops: 'liste' is none of",
        "relay.toml:7: targets[0].ids: target 'back end': ids 'browser[' is no regular expression",
        "relay.toml:8: targets[1]: name is missing; write a text, as name = ",
        "relay.toml:10: targets[1].port: target '?': port 70000 must be a number up to 65535",
        "relay.toml:13: limits.buffer_high: expected a whole number, got a text",
        "relay.toml:14: limits.token: limit token=61.0 must be at most 60",
    ]
    assert len(found) == len(said)
    for problem, begins in zip(found, said, strict=True):
        assert problem.startswith(begins)


def test_the_environment_counts_more_than_the_file() -> None:
    env = {
        "AM_RELAY_SERVER_PORT": "99",
        "AM_RELAY_SERVER_ORIGINS": "https://a.example, https://b.example",
        "AM_RELAY_SERVER_MOVE": "true",
        "AM_RELAY_LIMITS_IDLE": "7.5",
        "AM_RELAY_OPERATION_ADDRESS_DIR": "tmp",
        "OTHER": "x",
    }
    config = parse("[server]\nport = 1\n", "relay.toml", env, base=Path("/etc"))
    assert config.server == Server(port=99, move=True, origins=("https://a.example", "https://b.example"))
    assert (config.limits.idle, config.operation.address_dir) == (7.5, Path("/etc/tmp"))


def test_a_command_s_own_defaults_count_less_than_the_file_and_the_environment() -> None:
    own: dict[Where, object] = {("server", "host"): "localhost", ("server", "port"): 6831}
    assert parse("", defaults=own).server == Server(host="localhost", port=6831)
    assert parse("[server]\nport = 9\n", defaults=own).server == Server(host="localhost", port=9)
    env = {"AM_RELAY_SERVER_PORT": "99", "AM_RELAY_SERVER_HOST": "127.0.0.1"}
    assert parse("[server]\nport = 9\n", "", env, defaults=own).server == Server(port=99)


def test_a_variable_of_a_section_that_is_no_table_does_not_hide_that() -> None:
    assert problems("server = 1", {"AM_RELAY_SERVER_PORT": "1"}) == [
        "relay.toml:1: server: must be a table: write [server]"
    ]


def test_a_wrong_variable_is_named() -> None:
    assert problems("", {"AM_RELAY_SERVER_PORT": "x", "AM_RELAY_SERVER_PROT": "1", "AM_RELAY_LIMITS_IDLE": "-1"}) == [
        "AM_RELAY_SERVER_PROT: unknown; did you mean AM_RELAY_SERVER_PORT?",
        "AM_RELAY_SERVER_PORT: expected a whole number, got a text; write a number, as AM_RELAY_SERVER_PORT=12733",
        "AM_RELAY_LIMITS_IDLE: limit idle=-1.0 must be greater than 0",
    ]


def test_a_variable_that_is_like_no_other_is_told_how_they_are_made() -> None:
    strange = f"AM_RELAY_{'Q' * 40}"
    assert problems("", {strange: "1"}) == [
        f"{strange}: unknown; there is AM_RELAY_<SECTION>_<KEY>, as AM_RELAY_SERVER_PORT"
    ]


def test_sections_that_are_right_are_seen_together_though_another_one_is_wrong() -> None:
    two = "[[targets]]\nname='x'\nhost='localhost'\nport=1\n[[meetings]]\nname='x'\n"
    found = problems(f"[limits]\nidle = 0\n{two}")
    assert [line.split(": ")[1] for line in found] == ["limits.idle", "meetings[0].name"]
    cluster = "[cluster]\nnats = ['tls://a:1']\nurl = 'https://b'\n"
    assert len(problems(f"[server]\nport = -1\n{cluster}")) == 1  # origins may be meant to stand there


def test_every_setting_but_tables_has_a_variable() -> None:
    names = [name for name, _ in variables()]
    assert len(names) == len(set(names))
    assert {"AM_RELAY_NAME", "AM_RELAY_DBG_FORWARD", "AM_RELAY_LIMITS_SOCKETS"} <= set(names)


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("name = 'x'")
    assert read(None, {"AM_RELAY_CONFIG": str(file)}).id == "relay-x"
    assert read(None, {}) == Config()


def test_a_mark_at_the_beginning_of_a_file_does_not_count(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\nport = 14050\n")
    assert read(file, {}).server.port == 14050
    _, doubtful = examine(file, lambda config: [], lambda config: [(("server",), "x")], {})
    assert doubtful == (f"{file}:1: server: x",)


def test_what_is_doubtful_is_told_beside_what_is_wrong(tmp_path: Path) -> None:
    """Else it would be told when all else is mended: one more round."""
    file = tmp_path / "relay.toml"
    file.write_text("[server]\nport = -1\n[operation]\ndrain = 1\n[pages]\nroots = ['/']\n")
    with pytest.raises(ConfigProblems) as told:
        examine(file, lambda config: [(("operation", "drain"), "further")], doubts, {})
    problems = [problem.removeprefix(f"{file}:") for problem in told.value.problems]
    assert problems[:2] == ["2: server.port: port -1 must be 0 (any free one) to 65535", "4: operation.drain: further"]
    assert problems[2].startswith("6: pages.roots: warning: / is the whole disk")
    assert len(problems) == 3


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblems, match="No such file"):
        read(tmp_path / "absent", {})
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigProblems, match="is no UTF-8 text"):
        read(tmp_path / "binary", {})


@given(st.text())
def test_any_text_is_a_config_or_a_list_of_problems(text: str) -> None:
    try:
        parse(text)
    except ConfigProblems:
        return  # whatever else is raised fails the test


SETTINGS = sorted(
    {where for _, where in variables()} | {("targets", each.name) for each in fields(Target) if each.init}
)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 1 << 21)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "127.0.0.1", "0.0.0.0", "1-2", "[", "https://a.example", "a:b", "dial", "2m", "é"])
    | st.lists(st.sampled_from(["dial", "listen", "10.0.0.0/8", "https://a.example", "tls://a:1", ""]), max_size=2)
)


@given(st.dictionaries(st.sampled_from(SETTINGS), VALUES, max_size=12))
def test_any_settings_are_a_config_or_problems_with_lines(given: dict[tuple[str, ...], object]) -> None:
    sections: dict[str, list[str]] = {}
    for where, value in given.items():
        if value is not None:
            section = "[[targets]]" if where[0] == "targets" else f"[{where[0]}]" if len(where) > 1 else ""
            sections.setdefault(section, []).append(f"{where[-1]} = {json.dumps(value, ensure_ascii=False)}")
    text = "\n".join("\n".join([section, *sections[section]]) for section in sorted(sections))
    text = text.replace("Infinity", "inf")
    try:
        parse(text, "relay.toml")
    except ConfigProblems as error:
        found = error.problems
    else:
        return
    numbers = [int(problem.split(":")[1]) for problem in found]
    assert numbers, "a refusal says why"
    assert numbers == sorted(numbers)
    assert len(set(found)) == len(found)


def test_a_secret_is_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("0123456789abcdef\n")
    file.chmod(0o640)
    with pytest.raises(RelayConfigError, match="can be read by others: chmod 600"):
        secret_of(file, "secret_file")
    file.chmod(0o600)
    if os.geteuid() == 0:  # only root can read what is somebody else's alone
        os.chown(file, 65534, -1)
        with pytest.raises(RelayConfigError, match="belongs to another user"):
            secret_of(file, "secret_file")
        os.chown(file, 0, -1)
    assert Server(secret_file=file).load_secret() == b"0123456789abcdef"
    assert Operation(token_file=file).load_token() == b"0123456789abcdef"
    file.write_text("short")
    with pytest.raises(RelayConfigError, match="has 5 bytes: at least 16"):
        secret_of(file, "secret_file")
    with pytest.raises(RelayConfigError, match="No such file or directory; make it with: openssl"):
        secret_of(tmp_path / "absent", "secret_file")
    assert (Server().load_secret(), Operation().load_token()) == (None, None)


def test_the_application_is_found_by_name() -> None:
    assert Server(authorize="asyncmachine_relay.admission:own_machine").load_authorize() is not None
    assert Server().load_authorize() is None
    for wrong in (
        "no_such_module:f",
        "asyncmachine_relay.admission:nothing",
        "asyncmachine_relay.admission:SUBPROTOCOL",
    ):
        with pytest.raises(RelayConfigError, match="authorize"):
            Server(authorize=wrong).load_authorize()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def f(:\n", "SyntaxError: invalid syntax (NAME.py, line 1)"),
        ("\nraise RuntimeError('no database')\n", "RuntimeError: no database (NAME.py, line 2)"),
        ("raise SystemExit(3)\n", "SystemExit: 3 (NAME.py, line 1)"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
    ],
    ids=["syntax", "raises", "exits", "imports"],
)
def test_an_application_that_cannot_be_imported_is_a_problem_of_the_settings(
    code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"door_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RelayConfigError) as caught:
        Server(authorize=f"{name}:f").load_authorize()
    assert str(caught.value) == f"authorize '{name}:f': {says.replace('NAME', name)}"
    assert caught.value.field == "authorize"


def test_debug_settings_are_bounded() -> None:
    for name in ("interval_tx", "interval", "file_bytes", "max_files", "max_bytes"):
        with pytest.raises(RelayConfigError, match=f"{name} 0 must be greater than 0"):
            Debug(**{name: 0})  # type: ignore[arg-type]
