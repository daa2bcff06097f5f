"""How tables of phrases are written: in lines, set apart by "|"."""


def phrases(lines: str) -> tuple[str, ...]:
    """Return the phrases in `lines`; blanks before a line are layout, those inside and after a phrase count."""
    return tuple(phrase for line in lines.split("\n") for phrase in line.lstrip().split("|") if phrase)
