"""A server on this machine that thinks for a moment and counts, and the command that is run against it."""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-planted-0123456789"


class Counting:
    """Answers every request after a while, and notes who asked for what, life by life of the client.

    `wrong` says which attempts are answered wrongly; what is billed is counted as the answers go out.
    """

    def __init__(self) -> None:
        self.asked: list[list[str]] = [[]]
        self.loop = asyncio.new_event_loop()
        self.random = random.Random(7)
        self.longest_s = 0.15
        self.wrong: Callable[[int, int], bool] = lambda number, seed: False
        self.tokens: Callable[[dict[str, Any]], int] = lambda body: 500
        self.billed: list[tuple[int, int]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        ask, seed = body["messages"][0]["content"], body["seed"]
        self.asked[-1].append(f"{ask}#{seed}")
        await asyncio.sleep(self.random.uniform(0.02, self.longest_s))
        found = re.search(r"What is (\d+)", ask)
        number = int(found[1]) if found else 0
        answer = 2 * number + self.wrong(number, seed)
        message = {"content": f"So \\boxed{{{answer}}}.", "reasoning_content": "thinking " * 200}
        tokens = self.tokens(body)
        self.billed.append((len(ask), tokens))
        usage = {"prompt_tokens": len(ask), "completion_tokens": tokens}
        choices = [{"finish_reason": "stop", "message": message}]
        answered = {"model": "r1", "provider": "Here", "choices": choices, "usage": usage}
        return web.json_response(answered, headers={"x-echo": request.headers.get("Authorization", "")})

    def next_life(self) -> None:
        """Counts apart what is asked from here on: first comes in what a client that was killed had sent."""

        async def settle() -> None:
            for _ in range(10):  # each time round, the loop takes what lies at every socket
                await asyncio.sleep(0.005)

        asyncio.run_coroutine_threadsafe(settle(), self.loop).result(timeout=60)
        self.asked.append([])

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.handle)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        await self.runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class Command:
    """The command `distill`, run in a folder of its own against the server, with a key in its environment."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url

    def recipe(self, problems: int, **teacher: Any) -> Path:
        """A recipe with so many problems, and these settings of its teacher."""
        rows = [{"problem": f"What is {at} + {at}?", "answer": str(2 * at)} for at in range(problems)]
        (self.folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        tasks = [{"task": "distill_rg_chain_sum", "min": 0.1}, {"task": "distill_rg_aiw", "min": 0.1}]
        data = {
            "name": "loopback",
            "problems": [{"kind": "dataset", "path": str(self.folder / "problems.jsonl")}],
            "teacher": {"kind": "endpoint", "model": "r1", "base_url": self.url, "api_key_env": "PLANTED"} | teacher,
            "student": {"base": "bundled:base"},
            "gate": {"tasks": tasks},
        }
        path = self.folder / "loopback.yaml"
        path.write_text(yaml.safe_dump(data))
        return path

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Starts it; standard output and standard error come as one."""
        return subprocess.Popen(
            [sys.executable, "-m", "distill.cli", *map(str, arguments)],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PLANTED": KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str | Path) -> tuple[int, str]:
        """Runs it to its end; the exit code and what it said."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=400)
        return process.returncode, said


@pytest.fixture
def counting() -> Iterator[Counting]:
    made = Counting()
    thread = threading.Thread(target=made.loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(made.start(), made.loop).result(60)
    yield made
    asyncio.run_coroutine_threadsafe(made.stop(), made.loop).result(60)
    made.loop.call_soon_threadsafe(made.loop.stop)
    thread.join()
    made.loop.close()


@pytest.fixture
def command(tmp_path: Path, counting: Counting) -> Command:
    return Command(tmp_path, counting.url)
