"""One worker of the verifier: `python -m distill.curate.worker FD MEMORY_MB TIMEOUT_S`.

Takes JSON problems with answers from the socket FD, one at a time; says `started` once the libraries are loaded, and
then the judgement. Ends when the socket closes, or when what it keeps between answers (sympy's caches) has grown to
half of its memory: an answer shall not pay for those before it.
"""

import json
import logging
import resource
import signal
import sys
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

from distill.curate import compare
from distill.records import Judgement, Problem

_GRACE_S = 10.0


def main(fd: int, memory_mb: int, timeout_s: float) -> None:
    """Answers until the other side closes. Memory is bounded by RLIMIT_AS (setrlimit(2)); the parent keeps the time,
    and an alarm ends the worker should the parent be gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C, and closes the socket
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 2**20, memory_mb * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it warns of the clock that is off by intent
    socket = Connection(fd)
    at_first = 0
    while True:
        try:
            order = json.loads(socket.recv_bytes())
        except EOFError:
            return
        problem = Problem("", "", order["answer"], order["answer_kind"], "", order["meta"])
        compare.prepare(problem)
        at_first = at_first or _address_space()
        socket.send_bytes(b"started")
        signal.setitimer(signal.ITIMER_REAL, timeout_s + _GRACE_S)
        judgement = _judge(problem, order["text"])
        signal.setitimer(signal.ITIMER_REAL, 0)
        socket.send_bytes(json.dumps(asdict(judgement)).encode())
        if _address_space() - at_first > memory_mb * 2**20 // 2:
            return


def _address_space() -> int:
    """Bytes, as RLIMIT_AS counts them (proc_pid_statm(5), first field)."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _judge(problem: Problem, answer: str) -> Judgement:
    judgement = compare.judge(problem, answer)
    if judgement.right is None and judgement.detail.startswith("MemoryError"):
        return Judgement(None, "needed more memory than a worker has")
    return judgement


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
