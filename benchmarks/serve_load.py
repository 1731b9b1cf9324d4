"""The service under load: many clients at once, beside the same pictures through `Recognizer` in one process.

    python benchmarks/serve_load.py [PICTURE...] [--clients 64] [--seconds 120]

Without pictures, those of examples/.  Each client sends one picture after the other over a connection of its own, and
waits as it is told where it is told to.  The server's memory is its resident set.  Exits with 1 where an answer was
neither 200 nor 429, the throughput is below WANTED of the one process', or the memory grew by more than GROWTH.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from mien.recognize import Recognizer

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
WANTED = 0.8  # of the one process' throughput
GROWTH = 0.05  # of the resident set, from a third of the time to its end
ALONE_S = 20.0  # that the one process is measured for


@dataclass
class Told:
    """What the clients saw."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of the requests that were answered with 200
    lasted_s: float = 0.0  # from the first request to the last answer

    def add(self, status: str, seconds: float) -> None:
        """Note an answer."""
        with self.lock:
            self.statuses[status] += 1
            if status == "200":
                self.seconds.append(seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path, default=sorted(EXAMPLES.glob("*.jpg")))
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args()
    pictures = [path.read_bytes() for path in options.pictures]
    print(f"{len(pictures)} pictures, load average before: {os.getloadavg()[0]:.2f}")
    alone = measure_alone(pictures, min(ALONE_S, options.seconds))
    print(f"one process: {alone:.2f} pictures/s")
    command = [sys.executable, "-c", "from mien.cli.main import main; main()", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            told, memory = load(address, server.pid, pictures, clients=options.clients, seconds=options.seconds)
        finally:
            server.send_signal(signal.SIGTERM)
    good = report(told, memory, alone)
    sys.exit(0 if good and server.returncode == 0 else 1)


def measure_alone(pictures: list[bytes], seconds: float) -> float:
    """Return how many pictures a second one process reads, in batches as `read_many` makes them."""
    recognizer = Recognizer.load()
    list(recognizer.read_many(pictures))  # what happens once happens here
    begun = time.perf_counter()

    def until_the_end() -> itertools.takewhile[bytes]:
        return itertools.takewhile(lambda _: time.perf_counter() - begun < seconds, itertools.cycle(pictures))

    count = sum(1 for _ in recognizer.read_many(until_the_end()))
    return count / (time.perf_counter() - begun)


def load(address: str, pid: int, pictures: list[bytes], *, clients: int, seconds: float) -> tuple[Told, list[int]]:
    """Return what clients saw, and the server's resident set in KiB: warm, after a third, after two, at the end."""
    told, end = Told(), threading.Event()
    client(address, pictures, Told(), end, most=2 * len(pictures), first=0)  # what happens once happens here
    memory = [resident_kib(pid)]
    threads = [
        threading.Thread(target=client, args=(address, pictures, told, end), kwargs={"first": number}, daemon=True)
        for number in range(clients)
    ]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(seconds / 3)
        memory.append(resident_kib(pid))
    end.set()
    for thread in threads:
        thread.join(60)
    told.lasted_s = time.perf_counter() - begun
    return told, memory


def client(
    address: str, pictures: list[bytes], told: Told, end: threading.Event, *, first: int, most: int | None = None
) -> None:
    """Send pictures, one after the other, until the end or `most` of them are sent."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    for number in itertools.count(first):
        if end.is_set() or (most is not None and number - first >= most):
            break
        begun = time.perf_counter()
        try:
            connection.request(
                "POST", "/v1/recognize", pictures[number % len(pictures)], {"Content-Type": "image/jpeg"}
            )
            answer = connection.getresponse()
            answer.read()
            status = str(answer.status)
        except (OSError, http.client.HTTPException) as error:
            status = type(error).__name__
            connection.close()
        told.add(status, time.perf_counter() - begun)
        if status == "429":
            end.wait(float(answer.getheader("Retry-After") or 1))
    connection.close()


def resident_kib(pid: int) -> int:
    """Return a process' resident set."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def report(told: Told, memory: list[int], alone: float) -> bool:
    """Print what was measured; return whether it is as wanted."""
    rate = len(told.seconds) / told.lasted_s
    print(f"service: {rate:.2f} pictures/s, {rate / alone:.2f} of the one process (wanted: {WANTED})")
    median, most = np.percentile(told.seconds, [50, 99])
    print(f"latency: p50 {1000 * median:.0f} ms, p99 {1000 * most:.0f} ms")
    print("answers: " + ", ".join(f"{status} {count:,}" for status, count in sorted(told.statuses.items())))
    grown = memory[-1] / memory[1] - 1
    print("resident MiB warm, at each third: " + ", ".join(f"{kib / 1024:.0f}" for kib in memory), f"({grown:+.1%})")
    print(f"load average after: {os.getloadavg()[0]:.2f}")
    return set(told.statuses) <= {"200", "429"} and rate >= WANTED * alone and grown <= GROWTH


if __name__ == "__main__":
    main()
