"""telltale/config*.py: everything that is wrong is told at once, in sentences; what is read can be written."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.settings import Endpoint
from storage.typed import nearest
from telltale.config import EMBEDDED, Config, load, locate, parse, with_names
from telltale.config_toml import dump, without_passwords
from telltale.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def told(text: str) -> list[str]:
    """Return the sentences about a configuration, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "c.toml")
    assert caught.value.exit_code == 2
    assert all(sentence.startswith("c.toml: ") for sentence in caught.value.sentences)
    return [sentence.removeprefix("c.toml: ") for sentence in caught.value.sentences]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[sumbission]", "[sumbission] is not a known section; did you mean [submission]?"),
        ("hostname = 'a'", "[hostname] is not a known section; did you mean the key hostname of [server]?"),
        (
            "[zzzzzz]",
            "[zzzzzz] is not a known section; the sections are " + ", ".join(Config.model_fields),
        ),
        ("dns = 3", "dns is a section: write [dns] on a line of its own, and its keys below"),
        ("[server]\nstate_dri = 'x'", "[server] state_dri is not a known key; did you mean state_dir?"),
        ("[pixel]\nbase_url = 'x'", "[pixel] base_url is not a known key; did you mean the one of [tracking]?"),
        ("[dns]\nqqq = 1", "[dns] qqq is not a known key; the keys of [dns] are nameservers, timeout, validates"),
        ("[server]\nhostname = 3", '[server] hostname is 3, but must be a text in quotes, such as "…"'),
        ("[server]\nworkers = '3'", '[server] workers is "3", but must be a whole number'),
        ("[server]\nworkers = true", "[server] workers is true, but must be a whole number"),
        ("[server]\nworkers = -1", "[server] workers is -1, but must be 0 or more"),
        ("[server]\nstate_dir = 7", "[server] state_dir is 7, but must be a path in quotes"),
        ("[delivery]\nport = 2.5", "[delivery] port is 2.5, but must be a whole number"),
        ("[delivery]\nport = 65536", "[delivery] port is 65536, but the last port is 65535"),
        ("[delivery]\nroutes = 3", '[delivery] routes must be a table, such as {"…" = "…"}'),
        ('[delivery]\nroutes = {"*" = 1}', '[delivery] routes["*"] must be a text in quotes, such as "…"'),
        (
            '[delivery.sources.main]\nadresses = ["192.0.2.1"]\naddresses = ["192.0.2.1"]',
            '[delivery] sources["main"] has an unknown key, adresses',
        ),
        (
            '[delivery.sources.main]\naddresses = ["192.0.2.1", "192.0.2.2"]',
            (
                '[delivery] sources["main"]["addresses"] is ["192.0.2.1", "192.0.2.2"], but must be an IPv4 address, '
                'an IPv6 address or one of each: ["192.0.2.25", "2001:db8::25"]'
            ),
        ),
        (
            '[delivery.sources.main]\naddresses = ["192.0.2.1"]\nehlo = "a b"',
            '[delivery] sources["main"]["ehlo"] is "a b", but must be a domain such as "example.org"',
        ),
        (
            '[delivery]\npools = {"*" = {main = 0}}',
            (
                '[delivery] pools["*"] is {"main": 0}, but must be names of sources, ["main", "second"], or their '
                "weights, {main = 3, second = 1}"
            ),
        ),
        (
            '[delivery]\npools = {"*" = ["main"]}',
            '[delivery] pools: "*" names main, which is no source; there is none',
        ),
        (
            '[delivery]\nsources = {other = {addresses = ["::1"]}}\npools = {"*" = ["main"]}',
            '[delivery] pools: "*" names main, which is no source; the sources are other',
        ),
        (
            '[delivery]\npools = {"a b" = ["main"]}',
            '[delivery] pools: the pattern "a b" is no domain: write "example.org", "*.example" or "*"',
        ),
        (
            "[delivery]\ntls = 'mya'",
            (
                '[delivery] tls is "mya", but must be "none", "may", "encrypt", "verify", "dane" or "dane-only";'
                ' did you mean "may"?'
            ),
        ),
        (
            "[tracking]\ntext_only = 'zz'",
            '[tracking] text_only is "zz", but must be "add-html" or "leave"',
        ),
        (
            "[tracking]\nleave_text_to = ['lists.example.org', 'a b']",
            '[tracking] leave_text_to[1] is "a b", but must be a domain such as "example.org"',
        ),
        (
            "[tracking]\nforeign_dkim = 'keeep'",
            '[tracking] foreign_dkim is "keeep", but must be "keep", "break" or "remove"; did you mean "keep"?',
        ),
        ("[tracking]\nkeep_addresses = 1", "[tracking] keep_addresses is 1, but must be true or false"),
        (
            "[submission]\nlisten = ['127.0.0.1:25', 'x']",
            '[submission] listen[1] is "x", but must be "host:port", for example "127.0.0.1:25" or "[::1]:25"',
        ),
        ("[submission]\nlisten = 'x:1'", '[submission] listen is "x:1", but must be a list, such as ["…", "…"]'),
        ("[submission]\nmax_recipients = 0", "[submission] max_recipients is 0, but must be 1 or more"),
        (
            "[dkim]\nexpires = '5m'",
            '[dkim] expires is "5m", but must be 0 or at least an hour: the next server may keep a message for days',
        ),
        ("[dkim]\nselectors = {'a b' = 's1'}", '[dkim] selectors: "a b" is no domain such as "example.org"'),
        (
            "[submission]\nmax_message_bytes = '25Q'",
            '[submission] max_message_bytes is "25Q", but must be bytes or a size such as 26214400 or "25M"',
        ),
        (
            "[retry]\nlifetime = 2026-01-01",
            '[retry] lifetime is "2026-01-01", but must be seconds or a duration such as 30, "90s", "5m", "4h" or "5d"',
        ),
        ("[retry]\nschedule = []", "[retry] schedule must hold at least one wait, each of 1 second or more"),
        (
            "[dns]\ntimeout = 0",
            "[dns] timeout is 0, but must be at least 1 second, or no question would ever be answered",
        ),
        ("[submission]\ntls_cert = 'c.pem'", "[submission] tls_cert needs tls_key, the file of its private key"),
        ("[submission]\ntls_key = 'k.pem'", "[submission] tls_key needs tls_cert, the file of its certificate chain"),
        (
            "[submission]\ntrusted_networks = ['10.0.0.0/8', '0.0.0.0/0']",
            '[submission] trusted_networks: "0.0.0.0/0" would be an open relay; name your own networks',
        ),
        (
            "[server]\nhostname = 'a b'",
            '[server] hostname must be a domain name such as "mail.example.org" (other scripts as xn--…)',
        ),
        (
            "[bounce]\ndomain = 'bücher.example'",
            '[bounce] domain must be a domain name such as "mail.example.org" (other scripts as xn--…)',
        ),
        (
            "[tracking]\nbase_url = 'ftp://x'",
            '[tracking] base_url must be an http or https address such as "https://t.example.org", without query',
        ),
        (
            "[pixel]\nlisten = ['127.0.0.1:2525']",
            "[submission] listen 127.0.0.1:2525 and [pixel] listen 127.0.0.1:2525 cannot share one port",
        ),
        (
            "[pixel]\nlisten = [':8026']",
            "[pixel] listen :8026 and [report] listen 127.0.0.1:8026 cannot share one port",
        ),
        (
            "[bounce]\nlisten = ['[::]:25', '[::1]:25']",
            "[bounce] listen [::]:25 and [bounce] listen [::1]:25 cannot share one port",
        ),
        ("a = = 1", "is not TOML: invalid value (at line 1, column 5)"),
        ("a = " + "[" * 9000, "is not a configuration: its values are nested too deeply"),
    ],
)
def test_a_mistake_is_one_sentence(text: str, sentence: str) -> None:
    assert told(text) == [sentence]


def test_all_mistakes_are_told_at_once_laws_too() -> None:
    text = """
    [server]
    workers = "many"
    [submission]
    tls_cert = "c.pem"
    tls_key = 7
    [retry]
    schedule = [0]
    [nowhere]
    [pixel]
    listen = ["127.0.0.1:8026"]
    """
    keys = [sentence.split()[0:2] for sentence in told(text)]
    assert [" ".join(words) for words in keys] == [
        "[server] workers",
        "[submission] tls_key",
        "[retry] schedule",
        "[nowhere] is",
        "[pixel] listen",
    ]


def test_a_route_is_told_without_its_password() -> None:
    (sentence,) = told('[delivery]\nroutes = {"*" = "smtp://me:geheim@host:x"}')
    assert sentence.startswith("[delivery] routes: ")
    assert "geheim" not in sentence


def test_a_long_value_is_cut() -> None:
    (sentence,) = told(f"[server]\nworkers = '{'9' * 500}'")
    assert len(sentence) < 120


@pytest.mark.parametrize(
    "text",
    [
        "[pixel]\nlisten = ['0.0.0.0:25', '[::]:25']",
        "[pixel]\nlisten = ['127.0.0.1:0', '127.0.0.1:0']",
        "[pixel]\nlisten = ['127.0.0.1:2525']\n[submission]\nlisten = ['127.0.0.2:2525']",
        "[submission]\ntrusted_networks = ['10.0.0.0/8', 'fc00::/7', '192.0.2.7']",
        "[tracking]\nbase_url = 'https://[2001:db8::1]:8025/t'\nscanner_seconds = 0",
        "[server]\nhostname = 'mx-1.xn--bcher-kva.example'",
    ],
)
def test_what_is_right_is_taken(text: str) -> None:
    assert isinstance(parse(text, "c.toml"), Config)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin1").write_bytes(b"# caf\xe9\n")
    for path, why in (
        (tmp_path / "none", "cannot be read: no such file or directory"),
        (tmp_path, "cannot be read: is a directory"),
        (tmp_path / "latin1", "is not UTF-8 text (byte 5 is 0xe9)"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert caught.value.sentences == (f"{path}: {why}",)


def test_the_file_is_the_given_one_then_the_environments_then_the_systems(tmp_path: Path) -> None:
    system = tmp_path / "config.toml"
    environ = {"TELLTALE_CONFIG": "env.toml"}
    assert locate(Path("given.toml"), environ, system) == Path("given.toml")
    assert locate(None, environ, system) == Path("env.toml")
    assert locate(None, {"TELLTALE_CONFIG": ""}, system) is None
    system.touch()
    assert locate(None, {}, system) == system


def test_paths_are_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = parse('[server]\nstate_dir = "x"\n[submission]\ntls_cert = "c"\ntls_key = "/k"', "elsewhere/c.toml")
    assert config.server.state_dir == tmp_path / "x"
    assert (config.submission.tls_cert, config.submission.tls_key) == (tmp_path / "c", Path("/k"))
    assert load(None).server.state_dir == tmp_path / "var"


def test_credentials_of_systemd_are_found_where_it_puts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[submission]\ntls_cert = "$CREDENTIALS_DIRECTORY/c"\ntls_key = "$CREDENTIALS_DIRECTORY/k"'
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/t")
    assert parse(text, "c").submission.tls_cert == Path("/run/credentials/t/c")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert str(parse(text, "c").submission.tls_cert) == "$CREDENTIALS_DIRECTORY/c"


def test_names_come_from_the_machine_where_the_file_has_none() -> None:
    config = with_names(parse("", EMBEDDED), "m.example")
    assert (config.server.hostname, config.bounce.domain) == ("m.example", "m.example")
    config = with_names(parse('[server]\nhostname="h.example"\n[bounce]\ndomain="b.example"', "c"), "m.example")
    assert (config.server.hostname, config.bounce.domain) == ("h.example", "b.example")


@given(
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), st.text(max_size=8), max_size=3),
    st.lists(st.tuples(st.sampled_from(["127.0.0.1", "::1", ""]), st.integers(0, 65535)), max_size=3),
)
def test_reading_what_was_written_gives_the_same(routes: dict[str, str], listen: list[tuple[str, int]]) -> None:
    config = parse("", EMBEDDED)
    # Values are put past the checks: the writer must write whatever a key may hold.
    changed = config.model_copy(
        update={
            "delivery": config.delivery.model_copy(update={"routes": routes}),
            "pixel": config.pixel.model_copy(update={"listen": tuple(Endpoint(*each) for each in listen)}),
        }
    )
    raw = tomllib.loads(dump(changed))
    assert raw["delivery"].pop("routes") == routes
    assert tuple(raw["pixel"]["listen"]) == tuple(str(Endpoint(*each)) for each in listen)


def test_what_show_prints_can_be_read_back(tmp_path: Path) -> None:
    text = f'[submission]\ntls_cert = "{tmp_path}/c"\ntls_key = "/k"\n[delivery]\nroutes = {{"*" = "smtp://h:26"}}'
    text += '\npools = {"*" = ["main"], "a.test" = {main = 3}}\n'
    text += '[delivery.sources.main]\naddresses = ["192.0.2.1", "2001:DB8::1"]\nehlo = "Mail.example.org"'
    config = parse(text, "c.toml")
    assert config.delivery.sources["main"].addresses == ("192.0.2.1", "2001:db8::1")
    assert config.delivery.pools == {"*": {"main": 1}, "a.test": {"main": 3}}
    assert parse(dump(config), "shown") == config


def test_passwords_are_masked() -> None:
    config = parse('[delivery]\nroutes = {"*.x" = "smtps://me:p%40w@h:465", "*" = "smtp://h"}', "c")
    assert without_passwords(config).delivery.routes == {"*.x": "smtps://me:***@h:465", "*": "smtp://h"}


def test_nothing_is_like_everything() -> None:
    assert nearest("zzz", ["listen"]) is None


def test_the_example_documents_every_key_with_its_default() -> None:
    """Taken out of its comments, the example is the embedded default, key for key."""
    keys = re.findall(r"^(?:\[\w+\]|#\w+ = .*)$", EXAMPLE.read_text(), re.MULTILINE)
    raw = tomllib.loads("\n".join([key.removeprefix("#") for key in keys]))
    fields = {name: set(type(section).model_fields) for name, section in Config()}
    optional = {"submission": {"tls_cert", "tls_key"}, "delivery": {"shaping"}}
    assert {name: set(section) for name, section in raw.items()} == fields
    for name, missing in optional.items():
        for key in missing:
            raw[name].pop(key)
    assert Config.model_validate(raw) == Config()
