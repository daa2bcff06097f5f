"""MTA-STS policies in the store, and counts of TLS sessions."""

from dataclasses import replace

from storage.store import Store
from storage.tls_model import StoredSts, TlsCount, TlsKey
from storage.tls_verbs import TlsReport

POLICY = StoredSts("example.test", "1", "enforce", ("*.mx.test", "mx.test"), 86400, 1000, 87_401_000, 1000)
KEY = TlsKey(20_000, "example.test", '{"policy-type":"sts"}', "certificate-expired", "mx.test", "192.0.2.1", "", "x")


async def test_a_policy_is_kept_for_all_and_an_older_one_does_not_replace_it(store: Store) -> None:
    assert await store.tls.sts("example.test") is None
    await store.tls.keep_sts(POLICY)
    assert await store.tls.sts("example.test") == POLICY
    newer = replace(POLICY, id="2", mode="testing", mx=(), fetched_ms=2000, expires_ms=3000)
    await store.tls.keep_sts(newer)
    await store.tls.keep_sts(POLICY)
    assert await store.tls.sts("example.test") == newer
    await store.tls.forget_sts(3000)
    assert await store.tls.sts("example.test") == newer
    await store.tls.forget_sts(3001)
    assert await store.tls.sts("example.test") is None


async def test_what_is_past_half_of_its_time_is_found_while_it_is_wanted(store: Store) -> None:
    for n in range(3):
        times = {"fetched_ms": 100 * n, "expires_ms": 1000 + 100 * n, "wanted_ms": 50 * n}
        await store.tls.keep_sts(replace(POLICY, domain=f"d{n}.test", **times))
    assert await store.tls.ageing_sts(500, 0, 10) == []
    assert await store.tls.ageing_sts(650, 0, 10) == ["d0.test", "d1.test"]
    assert await store.tls.ageing_sts(5000, 0, 2) == ["d0.test", "d1.test"]
    assert await store.tls.ageing_sts(5000, 60, 10) == ["d2.test"]


async def test_counts_add_up_and_go_with_their_report(store: Store) -> None:
    await store.tls.count([TlsCount(KEY, 1), TlsCount(replace(KEY, failure="", reason=""), 5)])
    await store.tls.count([TlsCount(KEY, 2), TlsCount(replace(KEY, domain="other.test"), 1)])
    await store.tls.count([TlsCount(replace(KEY, day=20_001), 1)])
    assert await store.tls.reportable(20_001) == [(20_000, "example.test"), (20_000, "other.test")]
    counts = await store.tls.counts(20_000, "example.test")
    assert {(each.key.failure, each.sessions) for each in counts} == {("", 5), ("certificate-expired", 3)}
    assert await store.tls.report(TlsReport(20_000, "example.test", None)) == []
    assert await store.tls.counts(20_000, "example.test") == []
    assert await store.tls.reportable(20_009) == [(20_000, "other.test"), (20_001, "example.test")]
