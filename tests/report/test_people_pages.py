"""report/pages/contacts.py, blocked.py, users.py: who may see them, and what their forms do."""

import re

from report.server import ReportServer
from storage.access import Role
from storage.contact_reader import ContactFilter
from storage.model import queue_id
from storage.people import Blocked, NewAddress, NewContact, Source
from storage.reader import Reader
from tests.report.browsing import PASSWORD, Browser, browsing
from tests.report.mailing import START, Mail

PAGES = ("/contacts", "/lists", "/unsubscribed", "/blocked")


async def test_a_viewer_reads_and_a_sender_does_not(server: ReportServer) -> None:
    async with browsing(server) as vera, browsing(server) as ann:
        await vera.log_in("vera")
        await ann.log_in("ann")
        for path in PAGES:
            assert (await vera.get(path), vera.status)[1] == 200
            assert (await ann.get(path), ann.status)[1] == 403
        for path in ("/contacts/new", "/blocked/undo", "/users"):
            assert (await vera.get(path), vera.status)[1] == 403
        await vera.get("/contacts")
        await vera.submit("/blocked/add", addresses="a@b.test")
        assert vera.status == 403


async def test_a_form_of_another_session_changes_nothing(root: Browser, reader: Reader) -> None:
    for path in ("/contacts/new", "/unsubscribed/add", "/blocked/add", "/users", "/account/tokens", "/lists/remove"):
        await root.post(path, {"form_token": "0" * 64, "name": "x", "addresses": "a@b.test", "address1": "a@b.test"})
        assert root.status == 403
    assert await reader.contacts.page(ContactFilter(), limit=5) == []


async def test_a_contact_is_added_changed_and_removed(root: Browser, reader: Reader) -> None:
    await root.get("/contacts/new")
    await root.submit(
        "/contacts/new",
        name="Ann <b>",
        address1="ann@example.test",
        types1="general; news",
        address2="ann@home.test",
        lists="staff, all",
        new_field="city",
        new_value="Ulm",
    )
    assert root.status == 200
    assert "The contact is added." in root.text
    assert "Ann &lt;b&gt;" in root.text
    (one,) = await reader.contacts.find("ann@example.test")
    assert (one.lists, one.fields, one.addresses[0].types, one.addresses[1].types) == (
        ("all", "staff"),
        {"city": "Ulm"},
        ("general", "news"),
        None,
    )
    at = root.url.partition("?")[0]
    await root.submit(at, name="Ann", address1="new@example.test", types1="none", address2="", **{"field:city": ""})
    (one,) = await reader.contacts.find("new@example.test")
    assert [(each.address, each.types) for each in one.addresses] == [("new@example.test", ())]
    assert (one.name, one.fields) == ("Ann", {})
    await root.submit(f"{at}/leave", list="staff")
    await root.submit(f"{at}/types", address="new@example.test", type="news")
    assert "Take back" in root.text
    await root.submit(f"{at}/types", address="new@example.test", type="news", undo="1")
    assert "Take back" not in root.text
    await root.submit(f"{at}/remove")
    assert await reader.contacts.find("new@example.test") == []
    assert (await root.get(at), root.status)[1] == 404


async def test_an_address_of_another_contact_is_never_taken(root: Browser, mail: Mail, reader: Reader) -> None:
    await mail.store.contacts.put(
        [NewContact((NewAddress("ann@example.test"),)), NewContact((NewAddress("bob@example.test"),), "b7")], START
    )
    await root.get("/contacts?q=bob")
    (link,) = [link for link in root.links() if re.fullmatch(r"/contacts/\w{10,}", link)]
    await root.get(link)
    await root.submit(link, address1="bob@example.test", address2="ann@example.test")
    assert root.status == 422
    assert "another contact" in root.text
    await root.submit(link, address1="no address")
    assert root.status == 422
    await root.submit(link, address1="")
    assert root.status == 422
    assert len((await reader.contacts.find("b7"))[0].addresses) == 1
    await root.get("/contacts/new")
    await root.submit("/contacts/new", address1="ann@example.test")
    assert "already" in root.text


async def test_what_was_imported_is_kept_by_a_form_that_changes_something_else(
    root: Browser, mail: Mail, reader: Reader
) -> None:
    """A field may have several lines, and browsers end them by CRLF."""
    long = "first line\nsecond line " + "x" * 2000
    await mail.store.contacts.put([NewContact((NewAddress("kay@x.test"),), "k1", "", {"note": long})], START)
    (one,) = await reader.contacts.find("k1")
    link = f"/contacts/{queue_id(one.id)}"
    await root.get(link)
    assert long in root.text
    await root.submit(link, name="Kay", address1="kay@x.test", **{"field:note": long.replace("\n", "\r\n")})
    (after,) = await reader.contacts.find("k1")
    assert (after.name, after.fields, after.key) == ("Kay", {"note": long}, "k1")


async def test_pages_of_contacts_follow_each_other(root: Browser, mail: Mail) -> None:
    await mail.store.contacts.put([NewContact((NewAddress(f"p{at:03}@x.test"),)) for at in range(120)], START)
    met, path = [], "/contacts"
    while path:
        await root.get(path)
        met += re.findall(r">(p\d{3}@x.test)</a>", root.text)
        path = next((link for link in root.links() if "after=" in link), "")
    assert met == [f"p{at:03}@x.test" for at in range(120)]
    assert "three letters at least" in await root.get("/contacts?q=p0")
    text = await root.get("/contacts.csv?q=p01")
    assert len(text.splitlines()) == 11


async def test_addresses_are_blocked_told_of_and_taken_off(root: Browser, reader: Reader) -> None:
    await root.get("/blocked")
    await root.submit("/blocked/add", addresses="ann@example.test\n@evil.test", reason="asked for it", lasts="30d")
    assert "2 blocked." in root.text
    await root.submit("/blocked/add", addresses="no address", reason="")
    assert root.status == 422
    await root.get("/blocked/of/ann@example.test")
    assert "asked for it" in root.text
    assert "by root" in root.text
    assert (await root.get("/blocked.csv?q=ann")).splitlines()[1].startswith("ann@example.test,manual,,asked for it,")
    await root.get("/blocked")
    await root.submit("/blocked/remove", address="ann@example.test")
    assert [entry.address for entry in await reader.blocked.find("ann@evil.test", START)] == ["@evil.test"]
    assert await reader.blocked.find("ann@example.test", START) == []


async def test_an_incident_is_shown_before_it_is_undone(root: Browser, mail: Mail, reader: Reader) -> None:
    entries = [Blocked(f"p{at}@x.test", Source.FAILED, START + at, "550 5.1.1", "user unknown") for at in range(3)]
    await mail.store.blocked.add([*entries, Blocked("hand@x.test", Source.MANUAL, START)], "root")
    await root.get("/blocked/undo?since=2026-11-20T00:00&until=&domain=x.test&category=&source=")
    assert "<strong>3</strong> would be taken off" in root.text
    await root.submit("/blocked/undo", since="2026-11-20T00:00", until="", domain="x.test", category="", source="")
    assert "3 taken off." in root.text
    assert [entry.address for entry in await reader.blocked.find("hand@x.test", START)] == ["hand@x.test"]
    await root.get("/blocked/undo")
    await root.submit("/blocked/undo", since="", domain="x.test")
    assert root.status == 422


async def test_users_are_made_changed_and_removed(root: Browser, server: ReportServer, reader: Reader) -> None:
    await root.get("/users")
    await root.submit("/users", name="new/er", password="short", role="viewer", senders="")
    assert root.status == 422
    await root.submit("/users", name="new/er", password=PASSWORD, role="viewer", senders="")
    assert "The user is added." in root.text
    await root.get("/users/new%2Fer")
    await root.submit("/users/new%2Fer", role="sender", senders="ann@example.test, @EXAMPLE.net")
    user = await reader.user("new/er")
    assert user is not None
    assert (user.role, user.senders) == (Role.SENDER, ("ann@example.test", "@example.net"))
    await root.submit("/users/new%2Fer/password", password="another long one", again="another long one")
    async with browsing(server) as other:
        await other.log_in("new/er", "another long one")
        assert other.url == "/"
        await root.submit("/users/new%2Fer/remove")
        await other.get("/log")
        assert other.url.startswith("/login")


async def test_nobody_locks_out_oneself(root: Browser, reader: Reader) -> None:
    await root.get("/users/root")
    await root.submit("/users/root", role="viewer", senders="")
    assert root.status == 422
    await root.submit("/users/root/remove")
    assert root.status == 422
    user = await reader.user("root")
    assert user is not None
    assert user.role is Role.ADMIN


async def test_a_token_is_shown_once_and_may_no_more_than_its_maker(server: ReportServer, reader: Reader) -> None:
    async with browsing(server) as ann:
        await ann.log_in("ann")
        await ann.get("/account")
        await ann.submit("/account/tokens", name="shop", lasts="90d", **{"log:read": "1", "users:write": "1"})
        found = re.search(r"tt_[\w-]{40}", ann.text)
        assert found
        (token,) = await reader.tokens("ann")
        assert token.scopes == {"log:read"}
        assert token.expires_ms == token.made_ms + 90 * 86_400_000
        async with ann.session.get(ann.base + "/log.csv", headers={"Authorization": f"Bearer {found[0]}"}) as answer:
            assert answer.status == 200
        assert found[0] not in await ann.get("/account")
        await ann.submit("/account/tokens", name="", lasts="")
        assert ann.status == 422
        await ann.submit("/account/tokens/remove", prefix=token.prefix)
        assert await reader.tokens("ann") == []


async def test_all_tokens_of_one_user_are_removed_at_once(server: ReportServer, root: Browser, reader: Reader) -> None:
    """A new password leaves them, as programs go on; whoever wants none of them to get in says so."""
    async with browsing(server) as ann:
        await ann.log_in("ann")
        await ann.get("/account")
        for name in ("one", "two"):
            await ann.submit("/account/tokens", name=name, **{"log:read": "1"})
        await root.get("/users/root")
        await root.submit("/users/root/tokens", name="mine", **{"users:write": "1"})
        await root.get("/users/ann")
        await root.submit("/users/ann/password", password="another horse", again="another horse")
        assert "API tokens go on" in root.text
        assert len(await reader.tokens("ann")) == 2
        assert "Remove 2 tokens" in await root.get("/users/ann")
        await root.submit("/users/ann/tokens/remove", all="1")
    assert [token.name for token in await reader.tokens()] == ["mine"]


async def test_another_s_token_is_not_removed(server: ReportServer, root: Browser, reader: Reader) -> None:
    await root.get("/users/root")
    await root.submit("/users/root/tokens", name="mine", **{"users:write": "1"})
    (token,) = await reader.tokens("root")
    async with browsing(server) as ann:
        await ann.log_in("ann")
        await ann.get("/account")
        await ann.submit("/account/tokens/remove", prefix=token.prefix)
        assert ann.status == 404
    assert len(await reader.tokens("root")) == 1


async def test_who_wants_no_more_is_noted_found_and_taken_back(root: Browser, reader: Reader) -> None:
    await root.get("/unsubscribed")
    assert "Nobody has unsubscribed." in root.text
    await root.submit("/unsubscribed/add", addresses="nobody", type="a\x07")
    assert root.status == 422
    assert "one line of at most" in root.text
    await root.submit("/unsubscribed/add", addresses="a@x.test", type="*")
    addresses = "\n".join(f"p{number:02}@x.test" for number in range(60))
    await root.submit("/unsubscribed/add", addresses=addresses, type=" News ")
    assert "60 noted." in root.text
    assert await reader.unsubscribed.of("A@x.test") != []
    seen = set(re.findall(r"recipient=(\w+)%40x\.test|recipient=(\w+)@x\.test", root.text))
    assert len(seen) == 50
    (older,) = [link for link in root.links() if "before=" in link]
    await root.get(older)
    assert "broadcasts at all" in root.text
    await root.get("/unsubscribed?q=P0&type=news")
    assert root.text.count("Take back:") == 10
    await root.get("/unsubscribed?q=@x.test&type=*")
    await root.submit("/unsubscribed/undo", address="a@x.test", type="*")
    assert "it gets these again" in root.text
    assert await reader.unsubscribed.of("a@x.test") == []
    await root.get("/unsubscribed.csv?q=@X.test")
    head, *lines = root.text.splitlines()
    assert head == "address,type,at,source,broadcast"
    assert {line.split(",")[0] for line in lines} == set(addresses.split())
    await root.get("/unsubscribed?before=W10")
    assert root.status == 200


async def test_a_file_of_who_unsubscribed_is_imported(root: Browser, reader: Reader) -> None:
    await root.get("/unsubscribed/import")
    await root.upload("/unsubscribed/import", {"file": ("left.csv", b"x")}, type="a\x07")
    assert root.status == 422
    csv = b"address,type,at\na@x.test,,2024-05-06T07:08:09Z\nb@x.test,*,\nnobody,,\n"
    await root.upload("/unsubscribed/import", {"file": ("left.csv", csv)}, type="News")
    assert re.findall(r"<dd>([\d,]+)</dd>", root.text) == ["2", "0", "1"]
    (one,) = await reader.unsubscribed.of("a@x.test")
    assert (one.type, one.at_ms, one.source) == ("news", 1714979289000, "import")
    assert [each.type for each in await reader.unsubscribed.of("b@x.test")] == ["*"]
