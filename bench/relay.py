"""Messages a second, end to end, against Postfix in the same run.

    .venv/bin/python bench/relay.py [--messages 4000] [--sessions 50] [--size 4096] [--recipients 1] [--rounds 3]
        [--reconnect]

Both relay the same HTML message from smtp-source to the same smtp-sink (Debian's package postfix), each on
its own loopback ports, with fsync on; the clock runs from the first connection until the sink has the last
message. Ours gives each recipient a copy with an own image and an own return path, which a smaller run into
a recording sink proves first; with `--recipients` Postfix is told to give each one a copy, too. Rounds alternate.
Printed are copies a second, the CPU seconds of the relay's own processes for 1,000 copies, the most memory that they
have held (the sum of their peaks, shared pages in each), and the ratio of the medians.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.peers import postfix as postfix_peer  # noqa: E402 - the path is set above
from tests.peers.smtp import free_port  # noqa: E402 - as above

SINK = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin") or "smtp-sink"
SOURCE = shutil.which("smtp-source", path="/usr/sbin:/usr/bin") or "smtp-source"
TELLTALE = Path(sys.executable).parent / "telltale"
DEADLINE_SECONDS = 240
MOST_HTML_BYTES = 100_000


def await_port(port: int, child: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if child is not None and child.poll() is not None:
            raise SystemExit(f"{child.args!r} ended with {child.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def message(size: int) -> bytes:
    """Return an HTML message of about this size; beyond 100 KB an attachment is what makes it large."""
    head = (
        b"From: news@sender.test\nTo: reader@recipient.test\nSubject: The weekly report\nMIME-Version: 1.0\n"
        b"Date: Mon, 23 Nov 2026 12:00:00 +0000\nMessage-ID: <bench@sender.test>\n"
    )
    if size <= MOST_HTML_BYTES:
        return head + html(size - len(head))
    line = b"JVBERi0xLjQKJeLjz9MKMSAwIG9iago8PC9UeXBlL0NhdGFsb2cvUGFnZXMgMiAwIFI+PgplbmRv\n"
    return b"".join(
        (
            head,
            b'Content-Type: multipart/mixed; boundary="bench"\n\n--bench\n',
            html(4096),
            b"\n--bench\nContent-Type: application/pdf; name=report.pdf\nContent-Transfer-Encoding: base64\n",
            b"Content-Disposition: attachment; filename=report.pdf\n\n",
            line * ((size - 4096) // len(line)),
            b"\n--bench--\n",
        )
    )


def html(size: int) -> bytes:
    """Return a part: its fields and its body."""
    head = b"Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n<html><body>\n"
    line = b"<p>Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam nonumy.</p>\n"
    tail = b"</body></html>\n"
    return head + line * max(1, (size - len(head) - len(tail)) // len(line)) + tail


@contextmanager
def sink(port: int, *options: str) -> Iterator[Callable[[], int]]:
    """Run a sink; yields a function that returns how many messages it has taken."""
    with tempfile.TemporaryFile() as out:
        user = ["-u", "postfix"] if os.geteuid() == 0 else []
        child = subprocess.Popen([SINK, *user, *options, "-c", f"127.0.0.1:{port}", "1000"], stdout=out)
        try:
            await_port(port, child)

            def taken() -> int:
                size = out.seek(0, os.SEEK_END)
                out.seek(max(0, size - 200))
                counts = re.findall(rb"mesg=(\d+)", out.read())
                return int(counts[-1]) if counts else 0

            yield taken
        finally:
            child.terminate()
            child.wait()


@contextmanager
def telltale(root: Path, sink_port: int, workers: int) -> Iterator[tuple[int, int]]:
    """Run ours; yields its port and its first process."""
    port = free_port()
    config = root / "telltale.toml"
    config.write_text(
        f'[server]\nhostname = "relay.sender.test"\nstate_dir = "{root}/state"\nworkers = {workers}\n'
        f'[submission]\nlisten = ["127.0.0.1:{port}"]\n[bounce]\nlisten = ["127.0.0.1:{free_port()}"]\n'
        f'[pixel]\nlisten = ["127.0.0.1:{free_port()}"]\n[report]\nlisten = ["127.0.0.1:{free_port()}"]\n'
        f'[delivery]\nroutes = {{"*" = "smtp://127.0.0.1:{sink_port}"}}\n'
    )
    with (root / "telltale.log").open("wb") as log:
        child = subprocess.Popen([str(TELLTALE), "serve", "--config", str(config)], stderr=log, stdout=log)
        try:
            await_port(port, child)
            yield port, child.pid
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(60)


@contextmanager
def postfix(root: Path, sink_port: int) -> Iterator[tuple[int, int]]:
    """Run Postfix; yields its port and its first process."""
    port = free_port()
    root.mkdir()
    # Limits of Debian's defaults that would hold 50 sessions or large messages back are lifted, and each recipient
    # gets a copy, as ours does it; all else is as shipped.
    extra = (
        f"relayhost = [127.0.0.1]:{sink_port}\ndefault_process_limit = 200\nsmtpd_client_connection_count_limit = 0\n"
        "default_destination_concurrency_limit = 50\ninitial_destination_concurrency = 50\n"
        "smtpd_client_connection_rate_limit = 0\nin_flow_delay = 0\nmessage_size_limit = 0\n"
        "smtp_destination_recipient_limit = 1\n"
    )
    peer = postfix_peer.start(root, "127.0.0.1", port, extra=extra)
    try:
        await_port(port)
        yield port, int((root / "queue" / "pid" / "master.pid").read_text())
    finally:
        peer.stop()


def send(port: int, count: int, sessions: int, eml: Path, *, reconnect: bool, recipients: int = 1) -> None:
    options = [] if reconnect else ["-d"]
    subprocess.run(
        [SOURCE, "-s", str(sessions), "-m", str(count), "-r", str(recipients), *options, "-F", str(eml),
         "-f", "news@sender.test", "-t", "reader@recipient.test", f"127.0.0.1:{port}"],
        check=True, timeout=DEADLINE_SECONDS,
    )  # fmt: skip


def await_count(taken: Callable[[], int], wanted: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while taken() < wanted:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {taken()} of {wanted} messages arrived")
        time.sleep(0.005)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process and all below it have used."""

    cpu_seconds: float
    """User and system, of those that have ended, too."""
    peak_bytes: int


def spent(first: int) -> Spent:
    ticks = peak = 0
    families: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            families.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    left = [first]
    while left:
        process = left.pop()
        left += families.get(process, [])
        with suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:15]))
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
            peak += int(found[1]) * 1024 if found else 0
    return Spent(ticks / os.sysconf("SC_CLK_TCK"), peak)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run came to."""

    copies_a_second: float
    cpu_seconds: float
    """For 1,000 copies."""
    peak_bytes: int


def run(port: int, process: int, taken: Callable[[], int], eml: Path, args: argparse.Namespace) -> Figures:
    before, started, cpu = taken(), time.monotonic(), spent(process).cpu_seconds
    copies = args.messages * args.recipients
    send(port, args.messages, args.sessions, eml, reconnect=args.reconnect, recipients=args.recipients)
    await_count(taken, before + copies)
    seconds, after = time.monotonic() - started, spent(process)
    return Figures(copies / seconds, (after.cpu_seconds - cpu) * 1000 / copies, after.peak_bytes)


def prove_unique(root: Path, eml: Path, workers: int) -> None:
    """Relay some messages into a recording sink: each has an own image and an own return path."""
    root.mkdir()
    kept = root / "kept"
    kept.mkdir()
    kept.chmod(0o777)
    port, count = free_port(), 60
    with sink(port, "-d", str(kept / "%M.")) as taken, telltale(root, port, workers) as (ours, _):
        send(ours, count, 10, eml, reconnect=False)
        await_count(taken, count)
    copies = [path.read_bytes() for path in kept.iterdir()]
    images = {found[1] for copy in copies if (found := re.search(rb'<img src="([^"]+)"', copy))}
    paths = {found[1] for copy in copies if (found := re.search(rb"X-Mail-Args: <([^>]+)>", copy))}
    if not len(copies) == len(images) == len(paths) == count:
        raise SystemExit(f"{count} messages gave {len(copies)} copies, {len(images)} images, {len(paths)} return paths")
    print(f"proved: {count} messages, {count} different images and return paths")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--recipients", type=int, default=1, help="of each message")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="of Telltale; 0: one a core")
    parser.add_argument("--reconnect", action="store_true", help="a connection a message, not one a session")
    parser.add_argument("--only", choices=["telltale", "postfix"], help="one of them, for profiling")
    args = parser.parse_args()
    figures: dict[str, list[Figures]] = {"telltale": [], "postfix": []}
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-relay-")))
        root.chmod(0o755)
        eml = root / "message.eml"
        eml.write_bytes(message(args.size))
        prove_unique(root / "proof", eml, args.workers)
        sink_port = free_port()
        taken = stack.enter_context(sink(sink_port))
        for _ in range(args.rounds):
            for name in figures if args.only is None else [args.only]:
                home = Path(tempfile.mkdtemp(dir=root))
                home.chmod(0o755)
                with (
                    telltale(home, sink_port, args.workers)
                    if name == "telltale"
                    else postfix(home / "postfix", sink_port) as (port, process)
                ):
                    figures[name].append(run(port, process, taken, eml, args))
                    print(told(name, figures[name][-1:]), flush=True)
    for name, found in figures.items():
        if found:
            print(f"median {told(name, found)}")
    ours, theirs = (
        statistics.median(one.copies_a_second for one in found) if found else 0 for found in figures.values()
    )
    if ours and theirs:
        print(f"ratio telltale / postfix = {ours / theirs:.2f}")


def told(name: str, found: list[Figures]) -> str:
    rate = statistics.median(one.copies_a_second for one in found)
    cpu = statistics.median(one.cpu_seconds for one in found)
    peak = statistics.median(one.peak_bytes for one in found) / (1 << 20)
    return f"{name:9} {rate:8.1f} copies/s {cpu:8.2f} CPU s a 1,000 {peak:6.0f} MB"


if __name__ == "__main__":
    main()
