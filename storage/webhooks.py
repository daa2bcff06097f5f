"""The store's verbs of webhooks, as `Store.webhooks`: each is one transaction, and returns after its commit."""

from storage import webhook_verbs
from storage.feed import Place
from storage.lane import Lane
from storage.webhook_model import HookAttempt, Told, Webhook


class Webhooks:
    """Where events are sent to. An `actor` is who orders something, and is told beside it."""

    def __init__(self, writer: Lane) -> None:
        """Write by the store's own lane."""
        self._writer = writer

    async def add(self, hook: Webhook, actor: str) -> None:
        """Add an endpoint, which is told of all that happens from now on, wherever `hook.place` is."""
        await self._writer.call(webhook_verbs.add, (hook, actor))

    async def remove(self, id_: str) -> bool:
        """Forget an endpoint; False where there is none of this id."""
        return await self._writer.call(webhook_verbs.remove, id_)

    async def stop(self, id_: str, now_ms: int, actor: str) -> bool:
        """Send it no events until it is enabled; they wait for it as long as the store keeps them."""
        return await self._writer.call(webhook_verbs.stop, (id_, now_ms, actor))

    async def enable(self, id_: str, now_ms: int, actor: str) -> bool:
        """Send it events again, from where it was; what it did not take is due now."""
        return await self._writer.call(webhook_verbs.enable, (id_, now_ms, actor))

    async def change(self, hook: Webhook, now_ms: int, called: str, actor: str) -> bool:
        """Give it the URL and the types that it has in `hook`. `called`: the change as people know it."""
        return await self._writer.call(webhook_verbs.change, (hook, now_ms, called, actor))

    async def replay(self, id_: str, place: Place, now_ms: int, called: str, actor: str) -> bool:
        """Send it what happened from a place on; events keep their ids. `called`: the place as people know it."""
        return await self._writer.call(webhook_verbs.replay, (id_, place, now_ms, called, actor))

    async def rotate(self, id_: str, secret: str, until_ms: int, now_ms: int, actor: str) -> bool:
        """Give it another secret; its events are signed with the former one, too, until `until_ms`."""
        return await self._writer.call(webhook_verbs.rotate, (id_, secret, until_ms, now_ms, actor))

    async def tell(self, told: Told) -> None:
        """Write what came of sending it events."""
        await self._writer.call(webhook_verbs.tell, told)

    async def tried(self, id_: str, attempt: HookAttempt) -> None:
        """Keep what came of a test with the calls of an endpoint."""
        await self._writer.call(webhook_verbs.tried, (id_, attempt))
