import asyncio
import signal
import sys
import time
from pathlib import Path

from pixel.answer import IMAGE
from storage.model import Attempt, BodyType, LogFilter, Message, NewRecipient, Phase, Reply, Result
from storage.people import POLICY
from storage.reader import Reader
from storage.secret import load_secret
from storage.status import Event, Status
from storage.store import Store
from storage.token import Purpose, TokenBox

SERVE = """
import asyncio, sys
from pathlib import Path
from pixel.server import PixelServer
from pixel.settings import PixelSettings
from storage.people import POLICY
from storage.settings import ServerSettings
from storage.tracking import TrackingSettings

async def main():
    house = ServerSettings(state_dir=Path(sys.argv[1]))
    server = PixelServer(PixelSettings(listen=("127.0.0.1:0",)), TrackingSettings(), house, POLICY)
    await server.start()
    print(server.addresses[0].port, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def delivered(state_dir: Path, number: int) -> list[int]:
    store = await Store.open(state_dir, POLICY)
    message = Message(store.next_id(), 1_700_000_000_000, "a@sender.test", BodyType.SEVEN_BIT, False, 1, b"plan")
    people = [NewRecipient(store.next_id(), f"r{one}@x.test", "x.test") for one in range(number)]
    for job in await store.accept(message, b"x", people, lifetime_ms=1000, leased=True):
        attempt = Attempt(1_700_000_000_000, 1, Phase.AFTER_DOT, Reply(250, None, "Ok"))
        await store.settle(Result(job, attempt, Event.DELIVER))
    await store.close()
    return [one.id for one in people]


async def opened(state_dir: Path) -> int:
    reader = await Reader.open(state_dir)
    rows = await reader.log(LogFilter(statuses=(Status.OPENED,)), limit=1000)
    await reader.close()
    return len(rows)


async def test_a_hit_survives_kill_9_from_a_second_after_its_answer(tmp_path: Path) -> None:
    ids = await delivered(tmp_path, 50)
    box = TokenBox(load_secret(tmp_path), Purpose.PIXEL)
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert server.stdout
    port = int(await server.stdout.readline())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for one in ids:
        writer.write(f"GET /o/{box.seal(one)}.gif HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(IMAGE)
    answered = time.monotonic()
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(max(0.0, answered + 1 - time.monotonic()))
    server.send_signal(signal.SIGKILL)
    await server.wait()
    assert await opened(tmp_path) == len(ids)
