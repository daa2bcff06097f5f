"""Looking at pages as axe does: on a desktop and a telephone, in light and dark."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SIZES = ((1280, 860), (390, 844))


def findings(chromium: "Browser", state: Any, base: str, paths: Iterable[str], axe: str) -> list[tuple[object, ...]]:
    """Return what is serious on pages for who is logged in (`state`), with all that is folded open; none is too wide.

    What a frame holds is the mail's sender's; it runs no scripts, so axe cannot look into it either.
    """
    found: list[tuple[object, ...]] = []
    for width, height in SIZES:
        for scheme in ("light", "dark"):
            context = chromium.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, storage_state=state, bypass_csp=True
            )
            page = context.new_page()
            for path in paths:
                page.goto(base + path)
                page.evaluate(
                    "for (const one of document.querySelectorAll('details:is(.more, .sure)')) one.open = true"
                )
                page.evaluate(axe)
                answer = page.evaluate("axe.run({exclude: ['iframe']})")
                fits = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                found += [] if fits else [(width, scheme, path, "too wide")]
                found += [
                    (width, scheme, path, finding["id"], finding["nodes"][0]["html"])
                    for finding in answer["violations"]
                    if finding["impact"] in {"serious", "critical"}
                ]
            context.close()
    return found
