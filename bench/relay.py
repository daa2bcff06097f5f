"""Messages a second, end to end, against Postfix in the same run.

    .venv/bin/python bench/relay.py [--messages 4000] [--sessions 50] [--size 4096] [--rounds 3] [--reconnect]

Both relay the same HTML message from smtp-source to the same smtp-sink (Debian's package postfix), each on
its own loopback ports, with fsync on; the clock runs from the first connection until the sink has the last
message. Ours gives each recipient a copy with an own image and an own return path, which a smaller run into
a recording sink proves first. Rounds alternate; the medians and their ratio are printed.
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
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.peers import postfix as postfix_peer  # noqa: E402 - the path is set above
from tests.peers.smtp import free_port  # noqa: E402 - as above

SINK = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin") or "smtp-sink"
SOURCE = shutil.which("smtp-source", path="/usr/sbin:/usr/bin") or "smtp-source"
TELLTALE = Path(sys.executable).parent / "telltale"
DEADLINE_SECONDS = 240


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
    head = (
        b"From: news@sender.test\nTo: reader@recipient.test\nSubject: The weekly report\nMIME-Version: 1.0\n"
        b"Date: Mon, 23 Nov 2026 12:00:00 +0000\nMessage-ID: <bench@sender.test>\n"
        b"Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n<html><body>\n"
    )
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
def telltale(root: Path, sink_port: int, workers: int) -> Iterator[int]:
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
            yield port
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(60)


@contextmanager
def postfix(root: Path, sink_port: int) -> Iterator[int]:
    port = free_port()
    root.mkdir()
    # Limits of Debian's defaults that would hold 50 sessions back are lifted; all else is as shipped.
    extra = (
        f"relayhost = [127.0.0.1]:{sink_port}\ndefault_process_limit = 200\nsmtpd_client_connection_count_limit = 0\n"
        "default_destination_concurrency_limit = 50\ninitial_destination_concurrency = 50\n"
        "smtpd_client_connection_rate_limit = 0\nin_flow_delay = 0\n"
    )
    peer = postfix_peer.start(root, "127.0.0.1", port, extra=extra)
    try:
        await_port(port)
        yield port
    finally:
        peer.stop()


def send(port: int, count: int, sessions: int, eml: Path, *, reconnect: bool) -> None:
    options = [] if reconnect else ["-d"]
    subprocess.run(
        [SOURCE, "-s", str(sessions), "-m", str(count), *options, "-F", str(eml), "-f", "news@sender.test",
         "-t", "reader@recipient.test", f"127.0.0.1:{port}"],
        check=True, timeout=DEADLINE_SECONDS,
    )  # fmt: skip


def await_count(taken: Callable[[], int], wanted: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while taken() < wanted:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {taken()} of {wanted} messages arrived")
        time.sleep(0.005)


def cpu_seconds() -> float:
    """Return the CPU seconds that the whole machine has spent (user and system)."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return (int(fields[0]) + int(fields[1]) + int(fields[2])) / os.sysconf("SC_CLK_TCK")


def run(port: int, taken: Callable[[], int], eml: Path, args: argparse.Namespace) -> tuple[float, float]:
    """Return messages a second and CPU seconds of the machine for 1,000 messages."""
    before, started, cpu = taken(), time.monotonic(), cpu_seconds()
    send(port, args.messages, args.sessions, eml, reconnect=args.reconnect)
    await_count(taken, before + args.messages)
    return args.messages / (time.monotonic() - started), (cpu_seconds() - cpu) * 1000 / args.messages


def prove_unique(root: Path, eml: Path, workers: int) -> None:
    """Relay some messages into a recording sink: each has an own image and an own return path."""
    root.mkdir()
    kept = root / "kept"
    kept.mkdir()
    kept.chmod(0o777)
    port, count = free_port(), 60
    with sink(port, "-d", str(kept / "%M.")) as taken, telltale(root, port, workers) as ours:
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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="of Telltale; 0: one a core")
    parser.add_argument("--reconnect", action="store_true", help="a connection a message, not one a session")
    parser.add_argument("--only", choices=["telltale", "postfix"], help="one of them, for profiling")
    args = parser.parse_args()
    rates: dict[str, list[tuple[float, float]]] = {"telltale": [], "postfix": []}
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-relay-")))
        root.chmod(0o755)
        eml = root / "message.eml"
        eml.write_bytes(message(args.size))
        prove_unique(root / "proof", eml, args.workers)
        sink_port = free_port()
        taken = stack.enter_context(sink(sink_port))
        for _ in range(args.rounds):
            for name in rates if args.only is None else [args.only]:
                home = Path(tempfile.mkdtemp(dir=root))
                home.chmod(0o755)
                with (
                    telltale(home, sink_port, args.workers)
                    if name == "telltale"
                    else postfix(home / "postfix", sink_port) as port
                ):
                    rates[name].append(run(port, taken, eml, args))
                    print(
                        f"{name:9} {rates[name][-1][0]:8.0f} messages/s {rates[name][-1][1]:6.2f} CPU s a 1,000",
                        flush=True,
                    )
    medians = {name: statistics.median(rate for rate, _ in found) for name, found in rates.items() if found}
    print(" · ".join(f"{name} median {median:.0f} messages/s" for name, median in medians.items()))
    if len(medians) == 2:
        print(f"ratio telltale / postfix = {medians['telltale'] / medians['postfix']:.2f}")


if __name__ == "__main__":
    main()
