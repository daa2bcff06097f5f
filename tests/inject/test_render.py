import pytest

from relay.inject.plan import InjectOptions, plan_message
from relay.inject.render import gives_back, head_bytes, pieces, render, render_checked
from relay.inject.splice import Edit, Form, Plan, Slot
from storage.untracked import UntrackedReason
from tests.inject.messages import URL, html, message

CONTENT = html(b"<p>x</p>\r\n")
PLAN = plan_message(CONTENT, InjectOptions())


def test_recipients_share_all_but_the_image() -> None:
    split = pieces(CONTENT, PLAN)
    assert split is not None
    assert split.head + split.tail == CONTENT
    assert split.render(URL) == render(CONTENT, PLAN, URL)
    assert render(CONTENT, PLAN, URL).count(URL.encode()) == 1


def test_a_plan_without_an_image_leaves_the_message() -> None:
    assert render(CONTENT, Plan(UntrackedReason.SIGNED), URL) == CONTENT
    assert pieces(CONTENT, Plan(UntrackedReason.SIGNED)) is None


def test_a_plan_for_another_content_is_not_applied_and_told() -> None:
    other = CONTENT.replace(b"x</p>", b"y</p>")
    rendering = render_checked(other, PLAN, URL)
    assert rendering.content == other
    assert rendering.defect is not None


SIGNED = message(b"text\r\n", "DKIM-Signature: d=example.com;\r\n b=x", "X-Track-Opens: no")


def test_a_signature_of_ours_comes_out_of_what_is_not_tracked() -> None:
    """All recipients share such a copy whole."""
    plan = plan_message(SIGNED, InjectOptions(signing_domains=frozenset({"example.com"})))
    assert plan.untracked_reason is UntrackedReason.OPTED_OUT
    rendering = render_checked(SIGNED, Plan.from_bytes(plan.to_bytes()), URL)
    assert rendering.defect is None
    assert rendering.content == SIGNED.replace(b"DKIM-Signature: d=example.com;\r\n b=x\r\n", b"")
    assert head_bytes(plan) == len(rendering.content)


def test_an_image_where_the_plan_says_none_is_not_applied_and_told() -> None:
    rendering = render_checked(CONTENT, Plan(UntrackedReason.SIGNED, PLAN.edits, PLAN.size, PLAN.checksum), URL)
    assert (rendering.content, rendering.defect is None) == (CONTENT, False)


@pytest.mark.parametrize("content", [CONTENT, message(b"text\r\n", mime=False)])
def test_the_head_is_as_long_as_said(content: bytes) -> None:
    plan = plan_message(content, InjectOptions())
    split = pieces(content, plan)
    assert split is not None
    assert head_bytes(plan) == len(split.head)


def test_a_plan_without_a_place_is_not_applied_and_told() -> None:
    rendering = render_checked(CONTENT, Plan(None, (), PLAN.size, PLAN.checksum), URL)
    assert (rendering.content, rendering.defect is None) == (CONTENT, False)


def test_edits_out_of_order_are_caught() -> None:
    slot = Slot(Form.PLAIN, "ascii", b"\r\n", 0, 0, 998)
    edits = (Edit(20, 5, b"later"), Edit(3, 0, slot=slot))
    rendering = render_checked(CONTENT, Plan(None, edits, PLAN.size, PLAN.checksum), URL)
    assert rendering.content == CONTENT
    assert rendering.defect is not None


def test_removed_bytes_are_put_back_and_literal_ones_taken_out() -> None:
    content = message(b"text\r\n", "Content-Type: text/plain", mime=False)
    plan = plan_message(content, InjectOptions())
    split = pieces(content, plan)
    assert split is not None
    rendered = split.render(URL)
    image_length = len(rendered) - len(split.head) - len(split.tail)
    assert gives_back(rendered, content, plan, image_length)
    for at in (0, content.index(b"Subject"), rendered.index(b"text\r\n")):
        assert not gives_back(rendered[:at] + b"!" + rendered[at + 1 :], content, plan, image_length)
    assert not gives_back(rendered + b"!", content, plan, image_length)
