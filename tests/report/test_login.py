"""report/pages/login.py, account.py, sessions.py, forms.py: who comes in, and who does not."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from report.server import ReportServer
from storage.access import ApiToken, Role, Scope, hashed
from storage.model import User
from storage.store import Store
from tests.report.browsing import CHEAP, PASSWORD, Browser, browsing, served
from tests.report.mailing import Mail


@pytest.fixture
async def browser(server: ReportServer) -> AsyncIterator[Browser]:
    async with browsing(server) as browser:
        yield browser


async def test_who_is_not_logged_in_is_led_to_the_form_and_back(browser: Browser) -> None:
    await browser.get("/account?x=1")
    assert browser.url == "/login?next=/account?x%3D1"
    await browser.submit("/login", name="ann", password=PASSWORD, next="/account?x=1")
    assert browser.url == "/account?x=1"
    await browser.get("/login")
    assert browser.url == "/"


@pytest.mark.parametrize("path", ["/log", "/account", "/"])
async def test_a_program_without_a_session_is_told_so(browser: Browser, path: str) -> None:
    async with browser.session.get(browser.base + path) as answer:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="telltale"')


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "x", "/a\nb"])
async def test_a_log_in_leads_nowhere_else(browser: Browser, elsewhere: str) -> None:
    await browser.log_in("ann", next_=elsewhere)
    assert browser.url == "/"


async def test_wrong_names_and_wrong_passwords_get_one_answer(browser: Browser) -> None:
    answers = set()
    for name, password in (("ann", "wrong"), ("nobody", "wrong"), ("nobody", PASSWORD)):
        await browser.log_in(name, password)
        assert browser.status == 401
        answers.add(re.sub(r'value="[^"]*"', "", browser.text))
    assert len(answers) == 1


async def test_a_session_is_another_one_after_a_log_in_and_gone_after_the_log_out(browser: Browser) -> None:
    """What somebody planted in a browser before opens nothing, and neither does what was copied, after."""
    await browser.get("/login")
    cookie = browser.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    planted = cookie.partition(";")[0]
    await browser.log_in("ann")
    copied = "=".join(browser.cookie())
    assert copied not in {planted, ""}
    async with browser.session.get(browser.base + "/log", headers={"Cookie": copied}) as answer:
        assert answer.status == 200
    await browser.submit("/logout")
    assert browser.url == "/login"
    browser.session.cookie_jar.clear()
    for old in (planted, copied):
        async with browser.session.get(browser.base + "/log", headers={"Cookie": old}) as answer:
            assert answer.status == 401


async def test_the_store_holds_no_secret_of_a_session(browser: Browser, mail: Mail, server: ReportServer) -> None:
    await browser.log_in("ann")
    _, secret = browser.cookie()
    assert server._desk
    (session,) = await server._desk.reader.sessions_of("ann")
    assert session.hash == hashed(secret)
    stored = b"".join(file.read_bytes() for file in mail.state_dir.glob("telltale.db*"))
    assert secret.encode() not in stored


async def test_logging_out_everywhere_ends_all_sessions_of_this_user_only(
    server: ReportServer, browser: Browser
) -> None:
    async with browsing(server) as other, browsing(server) as stranger:
        await other.log_in("ann")
        await stranger.log_in("root")
        await browser.log_in("ann")
        await browser.get("/account")
        await browser.submit("/logout", everywhere="1")
        await other.get("/log")
        await stranger.get("/log")
        assert (other.url, stranger.url) == ("/login?next=/log", "/log")


@pytest.mark.parametrize("after_hours", [13, 15 * 24])
async def test_a_session_ends_by_itself(browser: Browser, server: ReportServer, after_hours: int) -> None:
    assert server._desk
    clock, late = server._desk.clock_ms, 0
    server._desk.clock_ms = lambda: clock() + late
    await browser.log_in("ann")
    step = 11 if after_hours > 24 else after_hours
    for hours in range(step, after_hours + step, step):
        late = hours * 3_600_000
        await browser.get("/log")
    assert browser.url == "/login?next=/log"


async def test_who_guesses_has_to_wait_and_no_one_else(browser: Browser, server: ReportServer) -> None:
    for _ in range(5):
        await browser.log_in("ann", "wrong")
        assert browser.status == 401
    await browser.log_in("ann", PASSWORD)
    assert browser.status == 429
    assert "Too many tries" in browser.text
    await browser.get("/login")
    fields = {"form_token": browser.form_token(), "name": "ann", "password": PASSWORD}
    await browser.post("/login", fields, headers={"X-Forwarded-For": "192.0.2.7"})
    assert browser.url == "/"


async def test_a_form_counts_only_with_its_token_and_from_our_own_pages(browser: Browser) -> None:
    await browser.log_in("ann")
    token = browser.form_token()
    attempts: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({"form_token": "0" * 64}, {}),
        ({"form_token": "ü"}, {}),
        ({"form_token": token}, {"Origin": "https://evil.example"}),
        ({"form_token": token}, {"Origin": "null"}),
        ({"form_token": token}, {"Sec-Fetch-Site": "cross-site"}),
        ({"form_token": token}, {"Sec-Fetch-Site": "same-site"}),
    ]
    for fields, headers in attempts:
        await browser.post("/logout", fields, headers=headers)
        assert browser.status == 403, (fields, headers)
    async with browser.session.post(browser.base + "/logout", json={"form_token": token}) as answer:
        assert answer.status == 415
    async with browser.session.post(browser.base + "/logout", data={"form_token": "x" * 70_000}) as answer:
        assert answer.status == 413
    await browser.get("/log")
    assert browser.url == "/log"
    await browser.post(
        "/logout", {"form_token": token}, headers={"Origin": browser.base, "Sec-Fetch-Site": "same-origin"}
    )
    assert browser.url == "/login"


async def test_behind_https_the_cookie_is_for_https_only(browser: Browser) -> None:
    await browser.get("/login", headers={"X-Forwarded-Proto": "https"})
    assert browser.headers["Set-Cookie"].startswith("__Host-telltale=")
    assert "Secure" in browser.headers["Set-Cookie"]


async def test_a_password_is_changed_by_who_knows_it_and_ends_all_other_sessions(
    server: ReportServer, browser: Browser
) -> None:
    new = "a longer secret than before"
    async with browsing(server) as other:
        await other.log_in("ann")
        await browser.log_in("ann")
        for old, first, second, words in (
            ("wrong", new, new, "present password is not right"),
            (PASSWORD, new, "other", "differ"),
            (PASSWORD, "short", "short", "10 to"),
        ):
            await browser.get("/account")
            html = await browser.submit("/account/password", old=old, new=first, again=second)
            assert words in html
        await browser.get("/account")
        await browser.submit("/account/password", old=PASSWORD, new=new, again=new)
        assert browser.url == "/account?changed"
        await other.get("/log")
        assert other.url == "/login?next=/log"
    async with browsing(server) as again:
        await again.log_in("ann", new)
        assert again.url == "/"


async def test_a_user_who_is_removed_is_out_at_once(browser: Browser, mail: Mail) -> None:
    await browser.log_in("ann")
    await mail.store.remove_user("ann")
    await browser.get("/log")
    assert browser.url == "/login?next=/log"


async def test_the_first_admin_is_made_by_a_link_once(mail: Mail) -> None:
    secret = "s" * 32
    assert await mail.store.make_setup_link(hashed(secret), 1 << 62)
    async with served(mail.state_dir) as server, browsing(server) as browser:
        assert "There is no administrator yet" in await browser.get("/login")
        assert "used up or too old" in await browser.get("/setup/wrong")
        await browser.get(f"/setup/{secret}")
        for name, password, again, words in (
            ("", PASSWORD, PASSWORD, "A name has"),
            ("a b", PASSWORD, PASSWORD, "A name has"),
            ("root", "short", "short", "A password has"),
            ("root", PASSWORD, "other", "differ"),
        ):
            assert words in await browser.submit(f"/setup/{secret}", name=name, password=password, again=again)
        await mail.store.add_user(User("taken", CHEAP.hash("x")))
        html = await browser.submit(f"/setup/{secret}", name="taken", password=PASSWORD, again=PASSWORD)
        assert "already" in html
        await browser.submit(f"/setup/{secret}", name="root", password=PASSWORD, again=PASSWORD)
        assert browser.url == "/"
        assert server._desk
        assert (await server._desk.reader.user("root")).role is Role.ADMIN  # type: ignore[union-attr]
        await browser.get(f"/setup/{secret}")
        assert browser.status == 404
    assert not await mail.store.make_setup_link(hashed("other"), 1 << 62)


async def test_a_link_that_is_too_old_makes_nobody(mail: Mail) -> None:
    await mail.store.make_setup_link(hashed("old"), 1000)
    async with served(mail.state_dir) as server, browsing(server) as browser:
        await browser.get("/setup/old")
        assert browser.status == 404
        await browser.get("/login")
        await browser.submit("/setup/old", name="root", password=PASSWORD, again=PASSWORD)
        assert browser.status == 404


async def test_an_api_token_opens_no_page_for_browsers(browser: Browser, mail: Mail) -> None:
    """A token is for the API: with it nobody changes a password."""
    token = "tt_" + "x" * 40
    made = ApiToken(hashed(token), token[:11], "root", "test", frozenset({Scope.LOG_READ}), 0)
    assert await mail.store.add_token(made)
    async with browser.session.get(browser.base + "/account", headers={"Authorization": f"Bearer {token}"}) as answer:
        assert answer.status == 401


async def test_a_program_with_a_token_gets_what_its_user_and_its_scopes_allow(mail: Mail, server: ReportServer) -> None:
    await mail.accept("foreign@example.test")

    async def asked(name: str, user: str, scope: Scope, expires_ms: int | None = None) -> tuple[int, int]:
        token = "tt_" + name.ljust(40, "x")
        made = ApiToken(hashed(token), f"tt_{name}", user, "test", frozenset({scope}), 0, expires_ms)
        assert await mail.store.add_token(made)
        async with browsing(server) as program:
            text = await program.get("/log.csv", headers={"Authorization": f"Bearer {token}", "Accept": "*/*"})
            return program.status, text.count("\n")

    assert await asked("one", "root", Scope.LOG_READ) == (200, 2)
    assert await asked("two", "ann", Scope.LOG_READ) == (200, 1)
    assert (await asked("three", "root", Scope.SEND))[0] == 403
    assert (await asked("four", "vera", Scope.USERS))[0] == 403
    assert (await asked("five", "root", Scope.LOG_READ, 1))[0] == 401
    assert server._desk
    found = await server._desk.reader.token(hashed("tt_" + "one".ljust(40, "x")))
    assert found is not None
    assert found.used_ms is not None
    async with browsing(server) as program:
        await program.get("/log.csv", headers={"Authorization": "Bearer nonsense", "Accept": "*/*"})
        assert program.status == 401


async def test_a_log_in_with_a_password_that_is_changed_meanwhile_fails(
    browser: Browser, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old password's session would outlive the change, which ends all sessions."""
    begin = Store.begin_session

    async def slowly(store: Store, *given: Any, **more: Any) -> bool:
        await mail.store.set_user("ann", password_hash=CHEAP.hash("quite another one"))
        return await begin(store, *given, **more)

    monkeypatch.setattr(Store, "begin_session", slowly)
    await browser.log_in("ann")
    assert browser.status == 401
    await browser.get("/account")
    assert browser.url.startswith("/login")


async def test_a_form_that_is_damaged_on_its_way_is_no_fault_of_ours(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    await browser.get("/login")
    head = {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"}
    async with browser.session.post(browser.base + "/login", data=b"none", headers=head) as answer:
        assert answer.status == 400
        assert "came damaged" in await answer.text()
    assert "Traceback" not in caplog.text
