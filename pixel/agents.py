"""What a User-Agent says of itself: mail proxies, prefetchers, scanners, robots.

Rule: pure, and a table: a name and the pattern that shows it. Only who names himself is listed; a plain
browser's agent proves nothing. HTTP libraries (curl, Python, Java …) are not listed: mail clients are
built with them and people try an image with them; gateways that use them are met by time, network
and crowd.
"""

import re
from functools import lru_cache
from typing import Final

# Apple Mail Privacy Protection fetches with this agent and no Referer, whether or not anybody reads.
APPLE_PREFETCH: Final = "Mozilla/5.0"

# Gmail fetches ahead of the reader with an agent that no browser has: an Edge of 2015 with this tail. An
# open in Gmail comes as GoogleImageProxy.
GMAIL_PREFETCH_TAIL: Final = "Edge/12.246 Mozilla/5.0"

_PROXIES: Final = {
    # Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)
    "Gmail": r"GoogleImageProxy|via ggpht\.com",
    # YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html
    "Yahoo": r"YahooMailProxy",
    # Outlook on the web asks outlookimageproxy.azurewebsites.net; the mobile apps' cloud fetches for them.
    "Outlook": r"OutlookImageProxy|Outlook(?:\.com)? Image Proxy|Outlook-(?:iOS|Android)",
}

_MACHINES: Final = {
    # Security gateways that name themselves, e.g. "Barracuda Sentinel (EE)".
    "Barracuda": r"Barracuda",
    "Proofpoint": r"Proofpoint",
    "Mimecast": r"Mimecast",
    "Cisco Secure Email": r"IronPort|Cisco ?Secure ?Email",
    "Symantec": r"MessageLabs|Symantec",
    "Trend Micro": r"Trend ?Micro|TMES/",
    "Sophos": r"Sophos",
    "Forcepoint": r"Forcepoint",
    "FireEye": r"FireEye",
    "Microsoft Defender": r"SafeLinks",
    # Office asks whether a linked document lives before a person opens it.
    "Microsoft Office": r"Microsoft Office (?:Existence|Protocol) Discovery",
    # Link previews: chats that were sent a copy of the message (https://api.slack.com/robots and kin).
    "a link preview": r"Slackbot|Slack-ImgProxy|facebookexternalhit|Facebot|WhatsApp/|SkypeUriPreview"
    r"|BingPreview|Snap URL Preview|vkShare|Iframely|redditbot|Embedly|Google-PageRenderer",
    # "Googlebot/2.1", "bingbot/2.0", "TelegramBot (like TwitterBot)"; the phones named CUBOT are not robots.
    "a robot": r"(?<!\bcu)bot\b|crawler|spider|\bslurp\b",
    "a headless browser": r"HeadlessChrome|PhantomJS",
}


def _one_of(table: dict[str, str]) -> tuple[re.Pattern[str], tuple[str, ...]]:
    return re.compile("|".join(f"({pattern})" for pattern in table.values()), re.IGNORECASE), tuple(table)


_PROXY, _PROXY_NAMES = _one_of(_PROXIES)
_MACHINE, _MACHINE_NAMES = _one_of(_MACHINES)


# Looking through the tables takes 20 µs and agents repeat: most hits of a broadcast share a few dozen.
@lru_cache(maxsize=2048)
def mail_proxy(agent: str) -> str | None:
    """Return the name of the mail provider whose proxy `agent` is, or None."""
    found = _PROXY.search(agent)
    return _PROXY_NAMES[found.lastindex - 1] if found and found.lastindex else None


@lru_cache(maxsize=2048)
def machine(agent: str) -> str | None:
    """Return the name of the scanner, robot or link preview that `agent` is, or None."""
    found = _MACHINE.search(agent)
    return _MACHINE_NAMES[found.lastindex - 1] if found and found.lastindex else None
