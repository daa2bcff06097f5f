import pytest

from relay.deliver.route import Route, RouteError, Routes, parse_route
from relay.deliver.settings import DeliverySettings, DnsSettings, RetrySettings


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("smtp://mx.example", Route("mx.example", 25)),
        ("smtps://mx.example", Route("mx.example", 465, implicit_tls=True)),
        ("smtp://127.0.0.1:2626", Route("127.0.0.1", 2626)),
        ("smtp://[::1]:2626/", Route("::1", 2626)),
        ("SMTP://MX.Example.", Route("mx.example", 25)),
        ("smtp://bücher.example", Route("xn--bcher-kva.example", 25)),
        (
            "smtp://me%40example.org:p%3Aa%2Fs%40s@mx.example:587",
            Route("mx.example", 587, user="me@example.org", password="p:a/s@s"),
        ),
    ],
)
def test_a_route_is_read(url: str, route: Route) -> None:
    assert parse_route(url) == route


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mx.example",
        "mx.example:25",
        "http://mx.example",
        "smtp://",
        "smtp://:25",
        "smtp://mx.example:0",
        "smtp://mx.example:65536",
        "smtp://mx.example:x",
        "smtp://[::1",
        "smtp://[zz]",
        "smtp://mx.example/path",
        "smtp://mx.example?x=1",
        "smtp://mx.example#x",
        "smtp://user@mx.example",
        "smtp://:secret@mx.example",
        "smtp://user%00x:secret@mx.example",
        "smtp://a b",
        "smtp://-bad-.example",
        "smtp://" + "a" * 300,
        "smtp://a..b",
        "smtp://ü" + "a" * 70,
    ],
)
def test_a_route_that_cannot_be_understood_is_a_sentence(url: str) -> None:
    with pytest.raises(RouteError) as caught:
        parse_route(url)
    assert str(caught.value).startswith("the route ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["smtp://user:{}@mx.example:0", "smtp:/user:{}@mx.example", "user:{}@mx.example"])
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises(RouteError) as caught:
        parse_route(url.format("hunter2"))
    assert "hunter2" not in str(caught.value)


def test_no_print_shows_a_password() -> None:
    assert "hunter2" not in repr(parse_route("smtp://user:hunter2@mx.example"))


def test_the_most_specific_pattern_wins() -> None:
    routes = Routes.parse(
        {
            "*": "smtp://rest",
            "*.example": "smtp://wide",
            "*.a.example": "smtp://narrow",
            "b.a.example": "smtp://exact",
            "*.XN--Bcher-kva.example": "smtp://books",
        }
    )

    def host(domain: str) -> str | None:
        route = routes.match(domain)
        return route and route.host

    assert host("other.test") == "rest"
    assert host("example") == "rest"  # "*.example" means its subdomains
    assert host("x.example") == "wide"
    assert host("a.example") == "wide"
    assert host("x.y.a.example") == "narrow"
    assert host("b.a.example") == "exact"
    assert host("b.xn--bcher-kva.example") == "books"


def test_without_routes_the_mx_hosts_serve() -> None:
    assert Routes.parse({}).match("example.org") is None
    assert Routes.parse({"*.example": "smtp://x"}).match("example.org") is None


@pytest.mark.parametrize(
    ("settings", "values", "sentence"),
    [
        (DeliverySettings, {"routes": {"*": "smtp://"}}, "names no host"),
        (DeliverySettings, {"routes": {"a b": "smtp://mx.example"}}, "is no domain"),
        (DeliverySettings, {"tls_policies": {"a b": "none"}}, "is no domain"),
        (DeliverySettings, {"tls_policies": {"*": "encrypted"}}, "encrypt"),
        (DeliverySettings, {"max_connections": 0}, "at least 1"),
        (DnsSettings, {"nameservers": ["localhost:53"]}, "by address"),
        (DnsSettings, {"timeout": 0}, "at least 1 second"),
        (RetrySettings, {"schedule": []}, "at least one wait"),
        (RetrySettings, {"schedule": [0]}, "at least one wait"),
    ],
)
def test_the_configuration_refuses_what_cannot_work(settings: type, values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        settings(**values)
    assert settings()
