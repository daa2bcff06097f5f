import pytest

from pixel.agents import machine, mail_proxy

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"
PEOPLE = [
    "",
    CHROME,
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.3.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; ms-office; MSOffice 16)",
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.16227; Pro)",
    "Mozilla/5.0 (Linux; Android 9; CUBOT X20 Pro) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/99.0 Mobile",
    "curl/7.88.1",
    "Python-urllib/3.11",
    "python-requests/2.32.3",
    "okhttp/4.12.0",
]


@pytest.mark.parametrize("agent", PEOPLE)
def test_who_does_not_name_himself_is_no_machine_and_no_proxy(agent: str) -> None:
    assert machine(agent) is None
    assert mail_proxy(agent) is None


@pytest.mark.parametrize(
    ("agent", "provider"),
    [
        ("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", "Gmail"),
        ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", "Yahoo"),
        ("OutlookImageProxy", "Outlook"),
        ("Outlook-iOS/723.4027091.prod.iphone (4.2413.0)", "Outlook"),
        ("Outlook-Android/2.0", "Outlook"),
    ],
)
def test_mail_proxies_are_known_by_their_names(agent: str, provider: str) -> None:
    assert mail_proxy(agent) == provider


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Barracuda Sentinel (EE)", "Barracuda"),
        ("Mozilla/5.0 (compatible; Proofpoint/2.0)", "Proofpoint"),
        ("Mimecast", "Mimecast"),
        ("Microsoft Office Existence Discovery", "Microsoft Office"),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "a link preview"),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "a link preview"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "a robot"),
        ("TelegramBot (like TwitterBot)", "a robot"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/126.0", "a headless browser"),
    ],
)
def test_machines_are_known_by_their_names(agent: str, name: str) -> None:
    assert machine(agent) == name
