"""The verifier: (problem, answer) pairs in, judgements out, in order; hostile answers cost a worker, never the run.

Most answers are decided here by comparing strings. The rest goes to worker processes, since nothing inside a process
can stop a computation such as 9**9**9 (math-verify's own clock is SIGALRM: its issues 42 and 50). Workers are plain
subprocesses that import neither the caller's main module nor torch. Each has the next small answer at hand while it
is at one; a worker that is killed, by its time, its memory or from outside, loses the answer that it was at, and
what it had at hand goes to another.
"""

import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from distill.curate import compare
from distill.errors import DistillError
from distill.records import Judgement, Problem

_PACKAGES = Path(__file__).resolve().parents[2]
_START_S = 120.0
_LONGEST = 100_000  # characters sent to a worker, from the end: the box that counts is the last
_AT_HAND = 2  # answers that a worker holds, the one it is at among them
_SMALL = 16_384  # bytes; only so small an answer is sent ahead, for a socket takes it without anybody reading
_STARTS = 3  # workers in a row that may die before they can judge; with one more, it is no accident


class VerifierPool:
    """A `records.Verifier` over worker processes. Workers start when first needed, and live until `close`.

    `workers` is how many there are, one for every core that this process may use where it is left out; `timeout_s` and
    `memory_mb` bound a single answer. May be called from several threads, which then take turns.
    """

    def __init__(self, workers: int | None = None, timeout_s: float = 5, memory_mb: int = 2048) -> None:
        self._size = workers or len(os.sched_getaffinity(0))
        self._timeout_s = timeout_s
        self._memory_mb = memory_mb
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._failed_starts = 0

    def __enter__(self) -> "VerifierPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends every worker; a later call starts new ones."""
        self._discard(list(self._workers))

    def __call__(self, answers: Sequence[tuple[Problem, str]]) -> list[Judgement]:
        """One judgement per answer, in order. Raises DistillError only where workers cannot start at all."""
        judged = [_quick(problem, answer) for problem, answer in answers]
        waiting = deque(at for at, known in enumerate(judged) if known is None)
        if waiting:
            with self._lock:
                self._judge(answers, waiting, judged)
        return [judgement for judgement in judged if judgement is not None]

    def _judge(
        self, answers: Sequence[tuple[Problem, str]], waiting: deque[int], judged: list[Judgement | None]
    ) -> None:
        """Has the workers judge the answers that wait, and enters what they say."""
        self._failed_starts = 0
        try:
            while waiting or any(worker.held for worker in self._workers):
                self._hand_out(answers, waiting)
                for worker in self._await():
                    for at, judgement in worker.hear():
                        judged[at] = judgement
                    if worker.dead:
                        self._bury(worker, waiting)
        finally:
            self._discard([worker for worker in self._workers if worker.held])

    def _hand_out(self, answers: Sequence[tuple[Problem, str]], waiting: deque[int]) -> None:
        """Gives every idle worker an answer, and then, if it is small, every busy one the next."""
        while waiting:
            worker = min(self._workers, key=lambda one: len(one.held), default=None)
            if (worker is None or worker.held) and len(self._workers) < self._size:
                worker = _Worker(self._memory_mb, self._timeout_s)
                self._workers.append(worker)
                self._selector.register(worker.connection, selectors.EVENT_READ, worker)
            assert worker is not None
            order = _order(*answers[waiting[0]])
            if worker.held and (len(worker.held) >= _AT_HAND or len(order) > _SMALL or not worker.small):
                return
            if worker.ask(waiting[0], order):
                waiting.popleft()
            elif worker.held:
                return  # it died at its answer, as will be heard
            else:
                self._bury(worker, waiting)

    def _await(self) -> list["_Worker"]:
        """Waits until a worker says something, or its time is over; gives those who did, or whose time is."""
        next_end = min(worker.deadline for worker in self._workers if worker.held)
        heard = [key.data for key, _ in self._selector.select(max(0.0, next_end - time.monotonic()))]
        now = time.monotonic()
        return heard + [one for one in self._workers if one.held and one.deadline <= now and one not in heard]

    def _bury(self, worker: "_Worker", waiting: deque[int]) -> None:
        """Takes a dead worker out; what it had at hand waits again. Raises DistillError after too many bad starts."""
        waiting.extendleft(reversed(worker.held))
        self._failed_starts = 0 if worker.ready else self._failed_starts + 1
        self._discard([worker])
        if self._failed_starts >= _STARTS:
            raise DistillError("the workers of the verifier cannot start; what they wrote stands above")

    def _discard(self, workers: list["_Worker"]) -> None:
        for worker in workers:
            self._selector.unregister(worker.connection)
            worker.kill()
            self._workers.remove(worker)


class _Worker:
    """One process and the socket to it. `held` has the answers that it was given, the first of which it is at; `ready`
    says whether it ever began one."""

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
        self.held: deque[int] = deque()
        self.dead, self.ready, self.small = False, False, True
        self.deadline = 0.0
        self._begun, self._timeout_s = False, timeout_s

    def ask(self, at: int, order: bytes) -> bool:
        """Hands an answer over; False when the worker is no longer there."""
        try:
            self.connection.send_bytes(order)
        except (BrokenPipeError, ConnectionResetError):
            return False
        if not self.held:
            self._begun, self.deadline = False, time.monotonic() + _START_S
        self.held.append(at)
        self.small = len(order) <= _SMALL
        return True

    def hear(self) -> list[tuple[int, Judgement]]:
        """What it judged since, by index. An answer whose time is over, or that killed it, is among them as
        unverifiable; then the worker is `dead`."""
        judged: list[tuple[int, Judgement]] = []
        try:
            while self.connection.poll():
                message = self.connection.recv_bytes()
                if message == b"started":
                    self._begun, self.ready = True, True
                    self.deadline = time.monotonic() + self._timeout_s
                    continue
                judged.append((self.held.popleft(), Judgement(**json.loads(message))))
                self._begun, self.deadline = False, time.monotonic() + _START_S
        except (EOFError, OSError):
            self.dead = True
            why = "its worker died, most likely of memory"
        else:
            self.dead = bool(self.held) and time.monotonic() >= self.deadline
            why = f"took longer than {self._timeout_s:g} s"
        if self.dead and self._begun:
            judged.append((self.held.popleft(), Judgement(None, why)))
        return judged

    def kill(self) -> None:
        self.dead = True
        self._process.kill()
        self._process.wait()
        self.connection.close()


def _quick(problem: Problem, answer: str) -> Judgement | None:
    try:
        return compare.quick(problem, answer)
    except Exception as error:  # no answer may end the run; it is told, as `compare.judge` tells it
        return Judgement(None, f"{type(error).__name__}: {str(error)[:200]}")


def _order(problem: Problem, answer: str) -> bytes:
    """A problem and an answer as a worker is sent them."""
    sent = {"answer": problem.answer, "answer_kind": problem.answer_kind, "meta": problem.meta}
    return json.dumps({**sent, "text": answer[-_LONGEST:]}).encode()
