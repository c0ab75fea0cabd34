"""Sampling overhead beside curator's, on one machine in one run: requests per second, CPU time, and memory.

    python tests/bench/bench_sampling.py [--requests 10000] [--peer-python PEER/bin/python] [--memory 50000]

The server answers every request with the same 8 kB after 50 ms; 256 requests are in flight at once. What is timed is
the whole stage: problems read from disk, each answer written to the journal before it counts, and the parts sealed at
the end. The peer runs in an interpreter of its own (pip install bespokelabs-curator), with its script from the folder
of benches beside the checkout; where either is not there its figures are null. `--memory N` asks for a tenth of N
requests and then for N, and prints by how much the peak memory of the second is higher; 0 leaves that out.
"""

import argparse
import json
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT.parent / "shared" / "bench"
IN_FLIGHT, DELAY_S = 256, 0.05


def client(port: int, count: int) -> dict[str, float]:
    """Samples `count` problems; gives what it took."""
    import distill.engines.endpoint  # noqa: F401  # libraries are loaded before the clock starts, as the peer's are
    from distill import shards
    from distill.records import Problem
    from distill.teacher_sections import EndpointTeacher
    from teachers.stage import Job, sample

    section = EndpointTeacher(
        kind="endpoint", model="deepseek-r1", base_url=f"http://127.0.0.1:{port}/v1", concurrency=IN_FLIGHT
    )
    with tempfile.TemporaryDirectory() as folder:
        problems, traces = Path(folder) / "problems", Path(folder) / "traces"
        questions = (Problem.of(f"question {at}", "42", "math", "bench") for at in range(count))
        shards.write_parts(problems, questions, Problem)
        job = Job(section, problems, traces, lambda answers: [], lambda line: None)
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        facts = sample(job)
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    assert facts["traces"] == count and not facts["failed"], facts
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"per_s": count / seconds, "cpu_ms": cpu / count * 1e3, "peak_mib": after.ru_maxrss / 1024}


def ours(port: int, count: int) -> dict[str, float]:
    """The client in a process of its own, whose peak memory is then its own too."""
    command = [sys.executable, __file__, "--client", str(port), str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def peer(python: str | None, port: int, count: int) -> dict[str, float] | None:
    """Curator's own figures, None where it is not there."""
    script = PEERS / "peer_curator.py"
    if python is None or not script.is_file():
        return None
    done = subprocess.run([python, script, str(port), str(count)], capture_output=True, text=True)
    found = re.search(r"curator (\d+) req/s, ([\d.]+) CPU ms", done.stdout)
    if found is None:
        print(f"the peer gave no figures: {done.stderr[-400:]}", file=sys.stderr)
        return None
    return {"per_s": float(found[1]), "cpu_ms": float(found[2])}


@contextmanager
def server(peer_python: str | None) -> Iterator[int]:
    """The bench folder's server where it and uvloop are there, otherwise ours, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command: list[Any] = [sys.executable, ROOT / "tests" / "bench" / "server.py", str(port), str(DELAY_S)]
    for python in filter(None, (peer_python, sys.executable)):
        has = subprocess.run([python, "-c", "import uvloop"], capture_output=True).returncode == 0
        if has and (PEERS / "mock_openai.py").is_file():
            command = [python, PEERS / "mock_openai.py", str(port), str(DELAY_S)]
            break
    process = subprocess.Popen(command)
    try:
        for _ in range(200):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--memory", type=int, default=50_000)
    parser.add_argument("--peer-python")
    parser.add_argument("--client", nargs=2, type=int, metavar=("PORT", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        print(json.dumps(client(*options.client)))
        return
    with server(options.peer_python) as port:
        own, other = ours(port, options.requests), peer(options.peer_python, port, options.requests)
        small = ours(port, options.memory // 10) if options.memory else None
        large = ours(port, options.memory) if options.memory else None
    print(f"{'':10}{'requests/s':>12}{'CPU ms each':>13}")
    for name, figures in (("distill", own), ("curator", other)):
        if figures is not None:
            print(f"{name:10}{figures['per_s']:>12,.0f}{figures['cpu_ms']:>13.2f}")
    growth = large["peak_mib"] - small["peak_mib"] if small and large else None
    if growth is not None:
        print(f"peak memory grows by {growth:.0f} MiB from {options.memory // 10:,} requests to {options.memory:,}")
    print(
        json.dumps(
            {
                "requests_per_s": own["per_s"],
                "cpu_ms_per_request": own["cpu_ms"],
                "peer_requests_per_s": other["per_s"] if other else None,
                "peer_cpu_ms_per_request": other["cpu_ms"] if other else None,
                "rate_ratio": own["per_s"] / other["per_s"] if other else None,
                "cpu_ratio": own["cpu_ms"] / other["cpu_ms"] if other else None,
                "memory_growth_mib": growth,
            }
        )
    )


if __name__ == "__main__":
    main()
