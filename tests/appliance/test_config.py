from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from appliance.config import Config, ConfigErrors, load, parse, settings

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "config" / "outpost.toml"
SWITCHED_OFF = r"(?m)^# (?=[a-z_]+ = |\[\[[a-z.]+\]\]$)"
MODEM = '[[modem]]\nname = "m"\nport = "/dev/ttyUSB0"\n'


def config_of(text: str, env: dict[str, str] | None = None) -> Config:
    return parse(text, name="outpost.toml", folder=Path("/srv/box"), env=env)


def errors_of(text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        config_of(text, env)
    return caught.value.lines


def test_config_empty_file_is_all_defaults() -> None:
    assert config_of("") == Config()


def test_config_every_mistake_is_told_at_once_in_the_files_order() -> None:
    text = (
        'data_dir = 5\n[http]\nlisten = "nope"\nprot = 1\n'
        + MODEM
        + ('[[modem]]\nbaud = "fast"\nname = "n"\nport = "/dev/x"\n[workers]\nmin = 0\n')
    )
    assert errors_of(text) == [
        "outpost.toml: data_dir: 5; want a folder",
        "outpost.toml: http.listen: 'nope'; want ADDRESS:PORT, such as '127.0.0.1:8080'",
        "outpost.toml: http.prot: unknown; want one of listen, incoming_token, page_password, hosts",
        "outpost.toml: modem[1].baud: 'fast'; want 9600 to 921600",
        "outpost.toml: workers.min: 0; want 1 to 32",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[modem]\nname = 'a'", "outpost.toml: modem: {'name': 'a'}; want tables, each begun by [[modem]]"),
        ("http = 3", "outpost.toml: http: 3; want a table of settings"),
        (
            "[[modem]]\nname = 'a'",
            "outpost.toml: modem[0].port: missing; want a device file, such as '/dev/serial/",
        ),
        (MODEM + "pin = 1234", "outpost.toml: modem[0].pin: ******; want 4 to 8 digits in quotes"),
        (
            MODEM + "[[modem]]\nname = 'm'\nport = '/dev/b'",
            "outpost.toml: modem[1].name: 'm'; want another than modem[0]'s",
        ),
        (
            "[workers]\nmin = 3\nmax = 2",
            "outpost.toml: workers.max: 2; want at least workers.min, which is 3",
        ),
        (
            "[[route]]\nname = 'x'\nkind = 'geezsms'",
            "outpost.toml: route[0].token: missing; kind 'geezsms' needs it",
        ),
        (
            "[[route]]\nname = 'x'\nkind = 'geezsms'\ntoken = 5",
            "outpost.toml: route[0].token: ******; want a token",
        ),
        (
            "[payments]\nagents = ['0911']",
            "outpost.toml: payments.agents: ['0911']; want a list of numbers in",
        ),
        (
            "[conversation]\ndefault_app = 'chess'",
            "outpost.toml: conversation.default_app: 'chess'; want one of",
        ),
    ],
)
def test_config_mistake_names_file_key_value_and_what_is_allowed(text: str, line: str) -> None:
    [told] = errors_of(text)
    assert told.startswith(line)


def test_config_broken_toml_is_one_line_with_its_place() -> None:
    [line] = errors_of("[http\nlisten = 1")
    assert line.startswith("outpost.toml: not TOML: ") and "line 1" in line


def test_config_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path / "none.toml", {})
    assert caught.value.lines == [f"{tmp_path}/none.toml: cannot be read: No such file or directory"]


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "0.0.0.0:80", "[::1]:0", "localhost:65535"])
def test_config_listen_accepts_addresses(listen: str) -> None:
    config = config_of(f'[http]\nlisten = "{listen}"')
    assert f"{config.http.host}:{config.http.port}" == listen.replace("[", "").replace("]", "")


@pytest.mark.parametrize(
    "listen", ["8080", "1.2.3:80", "127.0.0.1:65536", "::1:80", "[127.0.0.1]:80", "127.0.0.1:"]
)
def test_config_listen_refuses_what_cannot_be_bound(listen: str) -> None:
    [line] = errors_of(f'[http]\nlisten = "{listen}"')
    assert "http.listen" in line


def test_config_environment_overlays_the_file() -> None:
    config = config_of(
        MODEM,
        {
            "OUTPOST__HTTP__LISTEN": "0.0.0.0:1",
            "OUTPOST__WORKERS__MAX": "4",
            "OUTPOST__MODEM__0__BAUD": "9600",
            "OUTPOST__MODEM__1__NAME": "second",
            "OUTPOST__MODEM__1__PORT": "/dev/ttyUSB9",
            "OUTPOST__CONVERSATION__LANGUAGES": "am, en",
            "HOME": "/nowhere",
        },
    )
    assert config.http.listen == "0.0.0.0:1"
    assert config.workers.max == 4
    assert [(m.name, m.baud) for m in config.modem] == [("m", 9600), ("second", 115_200)]
    assert config.conversation.languages == ("am", "en")


def test_config_of_the_environment_can_cross_to_a_worker() -> None:
    env = {"OUTPOST__HTTP__LISTEN": "127.0.0.1:81", "OUTPOST__PAYMENTS__WALLETS": "telebirr,cbe"}
    told = msgspec.to_builtins(config_of("", env))
    assert told["http"]["listen"] == "127.0.0.1:81"
    assert list(told["payments"]["wallets"]) == ["telebirr", "cbe"]


def test_config_telebirr_half_filled_names_what_is_missing_and_no_secret() -> None:
    text = '[payments.telebirr]\napp_id = "x"\napp_secret = "s3cret"\nurl = "http://far.example/x"\n'
    lines = errors_of(text)
    assert lines == [
        "outpost.toml: payments.telebirr.merchant_app_id: missing; want it beside app_id",
        "outpost.toml: payments.telebirr.short_code: missing; want it beside app_id",
        "outpost.toml: payments.telebirr.private_key: missing; want it beside app_id",
        "outpost.toml: payments.telebirr.url: 'http://far.example/x'; money does not travel in the open:"
        " want https://",
    ]


def test_config_environment_mistakes_name_the_variable() -> None:
    lines = errors_of(
        "",
        {"OUTPOST__WORKERS__MAX": "lots", "OUTPOST__HTP__LISTEN": "x", "OUTPOST__HTTP": "y"},
    )
    assert lines == [
        "OUTPOST__HTP__LISTEN: unknown; want the name of a setting, such as OUTPOST__HTTP__LISTEN",
        "OUTPOST__HTTP: a group; want the name of a setting in it",
        "OUTPOST__WORKERS__MAX: 'lots'; want 1 to 32",
    ]


def test_config_relative_folders_count_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "box.toml"
    file.write_text('data_dir = "data"\n[booking]\ntimetable = "/abs"\n')
    config = load(file, {})
    assert config.data_path == tmp_path / "data"
    assert config.control_socket == tmp_path / "data" / "outpost.sock"
    assert config.booking.timetable == "/abs"


def test_shipped_config_loads_and_holds_the_defaults() -> None:
    shipped = load(SHIPPED, {})
    assert msgspec.structs.replace(shipped, modem=()) == Config()
    assert len(shipped.modem) == 1


def test_shipped_config_with_everything_switched_on_loads() -> None:
    text = re.sub(SWITCHED_OFF, "", SHIPPED.read_text())
    config = parse(text, name="outpost.toml", folder=ROOT)
    assert config.modem[0].pin and config.http.page_password and config.booking.timetable


def test_shipped_config_names_every_setting() -> None:
    text = re.sub(SWITCHED_OFF, "", SHIPPED.read_text())
    tree = tomllib.loads(text)
    for setting in settings():
        node = tree
        for key in setting.path.split("."):
            node = node[key.removesuffix("[]")]
            node = node[0] if key.endswith("[]") else node


def test_config_mistakes_that_other_files_decide_are_told_with_the_others() -> None:
    lines = errors_of(
        "[http]\nlisten = 'x'\n[workers]\nmin = 3\nmax = 2\n"
        "[conversation]\ndefault_app = 'chess'\nlanguages = ['en', 'xx']\n[payments]\nwallets = ['gold']\n"
    )
    assert [line.split(":")[1].strip() for line in lines] == [
        "http.listen",
        "conversation.default_app",
        "conversation.languages",
        "payments.wallets",
        "workers.max",
    ]


def test_config_text_from_the_environment_is_plain_text_for_who_passes_it_on() -> None:
    env = {"OUTPOST__CONVERSATION__DEFAULT_APP": "chat", "OUTPOST__CONVERSATION__LANGUAGES": "am,en"}
    told = msgspec.to_builtins(config_of("", env).conversation)  # as the workers are told
    assert (told["default_app"], tuple(told["languages"])) == ("chat", ("am", "en"))
