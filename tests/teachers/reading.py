"""Tiny teachers that read, traces for them, and a server on this machine that speaks vLLM's prompt_logprobs."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from aiohttp import web
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from distill import shards
from distill.records import Completion, Problem, Sampling, Trace

TEMPLATE = (
    "{% for m in messages %}USER {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}REPLY<think>\n{% endif %}"
)
QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
R1 = ("<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tokenizer(added: tuple[str, ...] = (*QWEN, "<think>", "</think>"), eos: str = QWEN[0], swap: bool = False) -> Any:
    """A token for each byte, and the added ones behind them; `swap` exchanges two of the bytes' ids."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if swap:
        alphabet[70], alphabet[71] = alphabet[71], alphabet[70]
    raw = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_tokens([AddedToken(text, special="think" not in text, normalized=False) for text in added])
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=eos, pad_token=eos)
    made.chat_template = TEMPLATE
    return made


def model(rows: int = 272, seed: int = 0, context: int = 2048) -> Any:
    """Peaked enough to have a head and a tail."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=rows, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=context, initializer_range=0.2,
    )  # fmt: skip
    return Qwen2ForCausalLM(config).eval()


def saved(folder: Path, weights: Any, words: Any) -> str:
    weights.save_pretrained(folder)
    words.save_pretrained(folder)
    return str(folder)


def trace(at: int, reasoning: str | None = None) -> Trace:
    problem = Problem.of(f"What is {at}+1?", str(at + 1), "math", "test")
    said = Completion(
        reasoning or f"{at} and one" + " more" * (at % 4) + ".", f"\\boxed{{{at + 1}}}", "stop", 1, 1, "t"
    )
    return Trace(f"{problem.id}#0", problem, said, "t", 0, Sampling(), None, "2026-01-01", 1.0)


def kept(folder: Path, traces: list[Trace]) -> Path:
    shards.write_parts(folder, traces, Trace)
    return folder


class Vllm:
    """Speaks vLLM's /v1/completions for a model; `script(body, n)` may answer the n-th call in its place."""

    def __init__(self, teacher: Any, most: int = 20) -> None:
        self.teacher, self.most = teacher, most
        self.script: Callable[[dict[str, Any], int], Any] = lambda body, n: None
        self.calls: list[dict[str, Any]] = []
        self.tells_ids = True
        self.loop = asyncio.new_event_loop()
        self.url = ""

    def answer(self, body: dict[str, Any]) -> Any:
        ids, k = body["prompt"], body["prompt_logprobs"]
        if k > self.most:
            said = f"Requested prompt logprobs of {k}, which is greater than max allowed: {self.most}"
            return web.json_response({"error": {"message": said, "code": 400}}, status=400)
        with torch.inference_mode():
            logprobs = self.teacher(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
        stated: list[Any] = [None]
        for row, token in zip(logprobs, ids[1:], strict=False):
            top = row.topk(k).indices.tolist()
            stated.append(
                {
                    str(at): {"logprob": float(row[at]), "rank": int((row > row[at]).sum()) + 1, "decoded_token": "x"}
                    for at in dict.fromkeys([token, *top])
                }
            )
        return {"model": body["model"], "choices": [{"index": 0, "text": "x", "prompt_logprobs": stated}]}

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """A short answer whose tokens are told by their ids where that is asked for, in one piece or as a stream."""
        body = await request.json()
        self.calls.append(body)
        text = "One and one.</think>\n\n\\boxed{2}"
        ids = [*tokenizer()(text, add_special_tokens=False)["input_ids"], 256]
        content = [
            {"token": f"token_id:{at}", "logprob": -0.1, "top_logprobs": [
                {"token": f"token_id:{at}", "logprob": -0.1}, {"token": "token_id:3", "logprob": -4.0},
            ]}
            for at in ids
        ]  # fmt: skip
        said: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        logprobs = {"logprobs": {"content": content if self.tells_ids else [{"token": "One", "logprob": -0.1}]}}
        if not body.get("stream"):
            message = {"content": "\\boxed{2}", "reasoning_content": "One and one."}
            return web.json_response({"model": body["model"], "choices": [said | logprobs | {"message": message}]})
        half = len(content) // 2
        chunks = [
            {"index": 0, "delta": {"reasoning_content": "One and one."}, "logprobs": {"content": content[:half]}},
            said | {"delta": {"content": "\\boxed{2}"}, "logprobs": {"content": content[half:]}},
        ]
        lines = "".join(f"data: {json.dumps({'model': body['model'], 'choices': [chunk]})}\n\n" for chunk in chunks)
        return web.Response(text=lines + "data: [DONE]\n\n", content_type="text/event-stream")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.calls.append(body)
        answer = self.script(body, len(self.calls))
        answer = self.answer(body) if answer is None else answer
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)

    def __enter__(self) -> "Vllm":
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(60)
        return self

    def __exit__(self, *_: Any) -> None:
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(60)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/completions", self.handle)
        app.router.add_post("/v1/chat/completions", self.chat)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"
