"""Kill -9 at random points of a load, round after round: what was acknowledged must arrive.

    .venv/bin/python -m bench.kill [--rounds 20] [--messages 80] [--seed 1]

Prints a line a round (kills, acknowledged, lost, twice) and their sums; exits 1 where anything was lost.
"""

import argparse
import random
import tempfile
from pathlib import Path

from tests.peers import keeper, killing
from tests.peers.smtp import free_port
from tests.peers.telltale import configured


def one_round(seed: int, messages: int) -> killing.Outcome:
    with tempfile.TemporaryDirectory(prefix="bench-kill-") as folder:
        port = free_port()
        mailbox = keeper.Keeper()
        sink = keeper.start(mailbox, "127.0.0.1", port)
        telltale = configured(Path(folder), delivery=f'routes = {{"*" = "smtp://127.0.0.1:{port}"}}')
        try:
            telltale.start()
            return killing.run_load(telltale, mailbox, random.Random(seed), messages=messages, most_kills=12)
        finally:
            telltale.end()
            sink.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--messages", type=int, default=80, help=f"of each of {killing.CLIENTS} clients")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    outcomes = []
    for number in range(args.rounds):
        outcomes.append(one_round(args.seed + number, args.messages))
        print(f"round {number + 1}: {outcomes[-1]}", flush=True)
    lost = sum(outcome.lost for outcome in outcomes)
    print(
        f"{sum(o.kills for o in outcomes)} kills, {sum(o.acknowledged for o in outcomes)} acknowledged, "
        f"{lost} lost, {sum(o.twice for o in outcomes)} twice"
    )
    raise SystemExit(1 if lost else 0)


if __name__ == "__main__":
    main()
