"""The store's verbs of webhooks, as `Store.webhooks`: each is one transaction, and returns after its commit."""

from storage import webhook_verbs
from storage.feed import Place
from storage.lane import Lane
from storage.webhook_model import Told, Webhook


class Webhooks:
    """Where events are sent to."""

    def __init__(self, writer: Lane) -> None:
        """Write by the store's own lane."""
        self._writer = writer

    async def add(self, hook: Webhook) -> None:
        """Add an endpoint, which is told of all that happens from now on, wherever `hook.place` is."""
        await self._writer.call(webhook_verbs.add, hook)

    async def remove(self, id_: str) -> bool:
        """Forget an endpoint; False where there is none of this id."""
        return await self._writer.call(webhook_verbs.remove, id_)

    async def stop(self, id_: str, now_ms: int, note: str) -> bool:
        """Send it no events until it is enabled; they wait for it as long as the store keeps them."""
        return await self._writer.call(webhook_verbs.switch, (id_, now_ms, note))

    async def enable(self, id_: str) -> bool:
        """Send it events again, from where it was."""
        return await self._writer.call(webhook_verbs.switch, (id_, None, ""))

    async def replay(self, id_: str, place: Place) -> bool:
        """Send it again what happened from a place on; events keep their ids."""
        return await self._writer.call(webhook_verbs.replay, (id_, place))

    async def tell(self, told: Told) -> None:
        """Write what came of sending it events."""
        await self._writer.call(webhook_verbs.tell, told)
