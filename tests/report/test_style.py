"""report/static/style.css: text can be read on its ground, and statuses stay apart, whoever looks at them."""

import itertools
import math
import re
from importlib.resources import files

import pytest

STYLE = files("report").joinpath("static/style.css").read_text()
COLOURS = {
    name: pair for name, *pair in re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{3,6}), (#[0-9a-f]{3,6})\)", STYLE)
}
THEMES = {"light": 0, "dark": 1}
# How colours look to whom a kind of cone is missing: Machado, Oliveira, Fernandes 2009, full severity, linear RGB.
EYES = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
TEXTS = (
    *[(text, ground) for text in ("text", "faint", "link") for ground in ("ground", "card", "hover")],
    *[(text, f"{text}-ground") for text in ("good", "middle", "bad", "way", "apart", "still")],
    ("on-primary", "primary"),
    ("on-solid", "fill-opened"),
    ("on-solid", "fill-failed"),
    ("way", "ground"),
)
APART = 12
"""Of CIE 1976; 2.3 is what one just sees beside each other."""


def linear(colour: str) -> list[float]:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def luminance(colour: str) -> float:
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))


def lab(colour: str, eyes: str) -> tuple[float, float, float]:
    """Return where a colour lies for somebody, in CIELAB (D65)."""
    seen = [sum(w * p for w, p in zip(row, linear(colour), strict=True)) for row in EYES[eyes]]
    red, green, blue = (min(max(part, 0), 1) for part in seen)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("text", "ground"), TEXTS)
def test_text_can_be_read_on_its_ground(text: str, ground: str, theme: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 at least."""
    lighter, darker = sorted((luminance(COLOURS[one][THEMES[theme]]) for one in (text, ground)), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("eyes", EYES)
def test_what_arrived_never_looks_like_what_did_not(theme: str, eyes: str) -> None:
    """Nor do any two of the statuses that a bar mostly holds, to whoever does not see all colours."""
    names = ("opened", "delivered", "soft-bounced", "bounced", "failed", "blocked")
    for one, other in itertools.combinations(names, 2):
        found = [lab(COLOURS[f"fill-{name}"][THEMES[theme]], eyes) for name in (one, other)]
        assert math.dist(*found) >= APART, (one, other)


def test_every_status_has_a_colour() -> None:
    fills = set(re.findall(r"\.(fill-[\w-]+) \{ fill: var\(--([\w-]+)\)", STYLE))
    assert len(fills) == 10
    assert {variable for _, variable in fills} <= COLOURS.keys()


def test_no_class_of_the_style_is_used_nowhere() -> None:
    """A rule that outlives its page is found here, not by the next reader."""
    folders = ("templates", "static", "pages")
    found = [path for folder in folders for path in files("report").joinpath(folder).iterdir()]
    found += [path for path in files("report").iterdir() if path.name.endswith(".py")]
    texts = [path.read_text() for path in found if path.is_file()]
    used = " ".join(text for text in texts if text != STYLE)
    rules = re.sub(r"/\*.*?\*/", "", STYLE, flags=re.DOTALL)
    heads = re.sub(r"\{[^{}]*\}", " ", rules)
    named = set(re.findall(r"\.([a-z][\w-]*)", heads))
    statuses = {"opened", "delivered", "sent", "soft-bounced", "bounced", "failed", "blocked"}  # chips, by `slug`
    made = statuses | {f"fill-{status}" for status in (*statuses, "unsent", "duplicate", "no-email-selected")}
    assert sorted(name for name in named - made if not re.search(rf"(?<![\w-]){name}(?![\w-])", used)) == []
