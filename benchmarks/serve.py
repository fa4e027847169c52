"""Many viewers of one live page: how late a step is at a viewer, what is left out, what the server
takes.

    python -m benchmarks.serve                                          20 viewers for 30 seconds
    python -m benchmarks.serve --run runs/ecg-seed0 --data-dir DIR      a run of yours
    python -m benchmarks.serve --viewers 5 --seconds 5                  a short form

The viewers are there twice, the second time with one more who reads nothing.

Without --run, a network is trained for one epoch on the simulated ECG. `srnn serve` plays in a
process of its own at real time, the viewers are in another one. A frame says when its first step
was due by the machine's clock: the delay of that step has the time in which the frame filled (33
ms), that of its last step has not. Counted from the second second on, when everybody is there. At
the end the server gets a SIGTERM, while who reads nothing is still there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np


async def look(url: str, seconds: float, begin: float) -> dict[str, Any]:
    """Be a viewer; return delays in ms and what was left out."""
    from websockets.asyncio.client import connect

    first, last, rate, left_out, steps = list[float](), list[float](), 1.0, 0, 0
    async with connect(
        url.replace("http", "ws") + "live", max_size=None, close_timeout=1
    ) as socket:
        while (now := time.monotonic()) < begin + seconds:
            message = await asyncio.wait_for(socket.recv(), 5)
            now = time.monotonic()
            if isinstance(message, str):
                told = json.loads(message)
                if told["type"] == "hello":
                    rate = told["rate"]
                elif told["type"] == "left_out":
                    left_out = told["frames"]
                continue
            head = json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")])
            if head["clock"] > begin:
                first.append(now - head["clock"])
                last.append(now - head["clock"] - head["n"] / rate)
                steps += head["n"]
    return {"first": first, "last": last, "left_out": left_out, "steps": steps}


async def many(url: str, viewers: int, seconds: float) -> None:
    """Be many viewers; print what they saw."""
    begin = time.monotonic() + 1
    print(json.dumps(await asyncio.gather(*(look(url, seconds, begin) for _ in range(viewers)))))


def stalled(url: str) -> socket.socket:
    """Return the connection of a viewer who reads nothing."""
    host, port = url.split("//")[1].strip("/").split(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect((host, int(port)))
    made.sendall(
        f"GET /live HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    return made


def used(pid: int) -> tuple[float, float]:
    """Return the processor time of a process so far (s), and its resident memory (MB)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), resident / 1e6


def measure(run: Path, data_dir: str | None, viewers: int, seconds: float, stall: bool) -> str:
    """Serve, look, and return a row of the table."""
    command = [
        sys.executable,
        "-m",
        "srnn",
        "serve",
        str(run),
        "--port",
        "0",
        "--json",
        *(["--data-dir", data_dir] if data_dir else []),
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        idle = stalled(url) if stall else None
        looking = [
            sys.executable,
            "-m",
            "benchmarks.serve",
            "--look",
            url,
            "--viewers",
            str(viewers),
            "--seconds",
            str(seconds),
        ]
        clients = subprocess.Popen(looking, stdout=subprocess.PIPE, text=True)
        time.sleep(2)
        (cpu, memory), began = used(server.pid), time.monotonic()
        time.sleep(max(1.0, seconds - 2))
        (cpu_after, memory_after), passed = used(server.pid), time.monotonic() - began
        seen = json.loads(clients.communicate(timeout=60)[0])
        with urllib.request.urlopen(f"{url}api/state", timeout=5) as answer:
            all_left_out = json.loads(answer.read())["state"]["left_out"]
        began = time.monotonic()
        server.terminate()
        server.wait(30)
        ended = time.monotonic() - began
        if idle is not None:
            idle.close()
    finally:
        server.kill()
    first, last = (
        1e3 * np.array([d for one in seen for d in one[name]]) for name in ("first", "last")
    )
    numbers = [
        f"{np.percentile(first, 50):.1f} / {np.percentile(first, 99):.1f}",
        f"{np.percentile(last, 50):.1f} / {np.percentile(last, 99):.1f}",
    ]
    frames, out = len(first), sum(one["left_out"] for one in seen)
    load = f"{100 * (cpu_after - cpu) / passed:.0f} %"
    lost = f"{out}{f', of the one who reads nothing {all_left_out - out}' if stall else ''}"
    who = f"{viewers}{' and one who reads nothing' if stall else ''}"
    return (
        f"| {who} | {' | '.join(numbers)} | {frames:,} | {lost} | {load} | {memory:.0f} → "
        f"{memory_after:.0f} | {ended:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--look", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.look:
        asyncio.run(many(args.look, args.viewers, args.seconds))
        return
    with tempfile.TemporaryDirectory() as folder:
        run = args.run
        if run is None:
            from benchmarks.stream_soak import run_folder

            run = run_folder(Path(folder))
        print(
            "| viewers | first step of a frame, ms, p50 / p99 | its last step | frames "
            "received | left out | processor | memory, MB | ends in, s |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for stall in (False, True):
            print(measure(run, args.data_dir, args.viewers, args.seconds, stall), flush=True)


if __name__ == "__main__":
    main()
