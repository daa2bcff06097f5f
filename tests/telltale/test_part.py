"""telltale/part.py: a part starts as told, says so, reloads, and drains when its channel closes."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from storage.tracking import TextOnly
from telltale import part
from telltale.config import Config
from telltale.config_toml import dump
from telltale.part import Running, live


@dataclass
class Told:
    """A part that keeps what happened to it."""

    facts: list[object] = field(default_factory=list)
    refuses: BaseException | None = None

    def build(self, config: Config) -> Running:
        self.facts.append(config.tracking.text_only)
        return Running(self._start, self._reload, self._drain)

    async def _start(self) -> None:
        if self.refuses:
            raise self.refuses
        self.facts.append("started")

    async def _reload(self, config: Config) -> None:
        if config.server.workers:
            raise OSError("no such certificate")
        self.facts.append(config.tracking.text_only)

    async def _drain(self) -> None:
        self.facts.append("drained")


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def lived(told: Told, talk: Talk) -> int:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    running = asyncio.create_task(live(told.build, theirs))
    await talk(reader, writer)
    code = await running
    writer.close()
    await writer.wait_closed()
    return code


def tell(writer: asyncio.StreamWriter, toml: str = "") -> None:
    writer.write(json.dumps({"config": toml}).encode() + b"\n")


async def heard(reader: asyncio.StreamReader) -> Any:
    return json.loads(await reader.readline())


async def test_a_part_lives_until_its_supervisor_is_gone() -> None:
    told = Told()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tell(writer, dump(Config()))
        assert await heard(reader) == {"ready": True}
        tell(writer, '[tracking]\ntext_only = "leave"')
        assert await heard(reader) == {"reloaded": True}
        tell(writer, "[server]\nworkers = 3")
        assert await heard(reader) == {"kept": "no such certificate"}
        writer.write_eof()

    assert await lived(told, talk) == 0
    assert told.facts == [TextOnly.ADD_HTML, "started", TextOnly.LEAVE, "drained"]


async def test_sigterm_drains() -> None:
    told = Told()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tell(writer)
        await heard(reader)
        os.kill(os.getpid(), signal.SIGTERM)

    assert await lived(told, talk) == 0
    assert told.facts[-1] == "drained"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError("cannot use TLS certificate x"), "cannot use TLS certificate x"),
        (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied"),
        (KeyError("x"), "unexpected KeyError: 'x' (TELLTALE_DEBUG=1 shows where)"),
    ],
)
async def test_what_keeps_a_part_from_starting_is_told_in_a_sentence(error: BaseException, sentence: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tell(writer)
        assert await heard(reader) == {"failed": sentence}

    assert await lived(Told(refuses=error), talk) == 1


async def test_a_supervisor_that_is_gone_before_it_spoke_starts_nothing() -> None:
    told = Told()

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()

    assert await lived(told, talk) == 0
    assert told.facts == []


async def test_a_drain_that_hangs_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[int] = []
    monkeypatch.setattr(part, "DRAIN_SECONDS", 0.01)
    monkeypatch.setattr(os, "_exit", ends.append)
    told = Told()

    async def hang() -> None:
        await asyncio.Event().wait()

    def build(config: Config) -> Running:
        made = told.build(config)
        return Running(made.start, made.reload, hang)

    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    running = asyncio.create_task(live(build, theirs))
    tell(writer)
    await heard(reader)
    writer.write_eof()
    await running
    assert ends == [0]
    writer.close()
    await writer.wait_closed()
