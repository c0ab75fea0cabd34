"""The verifier: (problem, answer) pairs in, judgements out, in order; hostile answers cost a worker, never the run.

Most answers are decided here by comparing strings. The rest goes to worker processes, since nothing inside a process
can stop a computation such as 9**9**9 (math-verify's own clock is SIGALRM: its issues 42 and 50). Workers are plain
subprocesses that import neither the caller's main module nor torch.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType

from distill.curate import compare
from distill.errors import DistillError
from distill.records import Judgement, Problem

_PACKAGES = Path(__file__).resolve().parents[2]
_START_S = 120.0
_LONGEST = 100_000  # characters sent to a worker, from the end: the box that counts is the last


class VerifierPool:
    """A `records.Verifier` over worker processes. Workers start when first needed, and live until `close`."""

    def __init__(self, workers: int | None = None, timeout_s: float = 5, memory_mb: int = 2048) -> None:
        self._size = workers or len(os.sched_getaffinity(0))
        self._timeout_s = timeout_s
        self._memory_mb = memory_mb
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()

    def __enter__(self) -> "VerifierPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends every worker; a later call starts new ones."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def __call__(self, answers: Sequence[tuple[Problem, str]]) -> list[Judgement]:
        """One judgement per answer, in order. Raises DistillError only where a worker cannot start at all."""
        judged = [compare.quick(problem, answer) for problem, answer in answers]
        waiting = deque(at for at, known in enumerate(judged) if known is None)
        with self._lock:
            try:
                while waiting or any(worker.busy for worker in self._workers):
                    self._hand_out(answers, waiting)
                    for at, judgement in self._collect():
                        judged[at] = judgement
            finally:
                self._discard([worker for worker in self._workers if worker.busy])
        return [judgement for judgement in judged if judgement is not None]

    def _hand_out(self, answers: Sequence[tuple[Problem, str]], waiting: deque[int]) -> None:
        while waiting:
            idle = next((worker for worker in self._workers if not worker.busy), None)
            if idle is None:
                if len(self._workers) >= self._size:
                    return
                idle = _Worker(self._memory_mb, self._timeout_s)
                self._workers.append(idle)
            if idle.ask(waiting[0], *answers[waiting[0]]):
                waiting.popleft()
            else:
                self._discard([idle])  # it died while idle; the answer is still to be asked

    def _collect(self) -> list[tuple[int, Judgement]]:
        """Waits until something happened; gives what was judged, by index."""
        busy = [worker for worker in self._workers if worker.busy]
        wait([worker.connection for worker in busy], max(0.0, min(w.deadline for w in busy) - time.monotonic()))
        held = [(worker, worker.at) for worker in busy]
        results = [(at, judgement) for worker, at in held if (judgement := worker.hear()) is not None]
        self._discard([worker for worker in self._workers if worker.dead])
        return results

    def _discard(self, workers: list["_Worker"]) -> None:
        for worker in workers:
            worker.kill()
            self._workers.remove(worker)


class _Worker:
    """One process and the socket to it. `at` is the index of the answer that it has, or -1."""

    def __init__(self, memory_mb: int, timeout_s: float) -> None:
        ours, theirs = socket.socketpair()
        path = os.pathsep.join([str(_PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])])
        numbers = [str(theirs.fileno()), str(memory_mb), str(timeout_s)]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "distill.curate.worker", *numbers],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.at, self.dead = -1, False
        self.deadline = 0.0
        self._started, self._timeout_s = False, timeout_s

    @property
    def busy(self) -> bool:
        return self.at >= 0

    def ask(self, at: int, problem: Problem, answer: str) -> bool:
        """Hands an answer over; False when the worker is no longer there."""
        order = {"problem": {**asdict(problem), "prompt": ""}, "answer": answer[-_LONGEST:]}
        try:
            self.connection.send_bytes(json.dumps(order).encode())
        except (BrokenPipeError, ConnectionResetError):
            return False
        self.at, self._started, self.deadline = at, False, time.monotonic() + _START_S
        return True

    def hear(self) -> Judgement | None:
        """The judgement once it is there, or once the time is over or the worker gone."""
        try:
            while self.connection.poll():
                message = self.connection.recv_bytes()
                if message != b"started":
                    self.at = -1
                    return Judgement(**json.loads(message))
                self._started, self.deadline = True, time.monotonic() + self._timeout_s
        except (EOFError, ConnectionResetError) as error:
            return self._lost("its worker died, most likely of memory", error)
        if time.monotonic() < self.deadline:
            return None
        return self._lost(f"took longer than {self._timeout_s:g} s", None)

    def kill(self) -> None:
        self.dead = True
        self._process.kill()
        self._process.wait()
        self.connection.close()

    def _lost(self, why: str, error: Exception | None) -> Judgement:
        self.at, self.dead = -1, True
        if not self._started:
            raise DistillError("a worker of the verifier cannot start; what it wrote stands above") from error
        return Judgement(None, why)
