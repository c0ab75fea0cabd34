"""Chat: thinking and answer come apart as they arrive, at a terminal and through pipes, for runs and for folders."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from distill import chat, think
from distill.engines.local import load
from distill.errors import EngineError, InputError
from distill.quantization import settings
from distill.recipe import model_path
from distill.records import Completion, Request, Sampling, asked, printable
from distill.run import Run

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "distill.cli", "chat"]
QUESTION = "Calculate 12 + 30 - 5."
SHORT = Sampling(max_tokens=128)


@pytest.fixture(scope="module")
def teacher() -> chat.Student:
    torch.set_num_threads(1)
    return chat.Student("bundled:teacher", load("bundled:teacher", batch_size=1), SHORT)


def request(question: str = QUESTION, seed: int = 0) -> Request:
    return Request("chat#0", asked(question), seed, SHORT)


def completed(student: chat.Student, asked_for: Request) -> Completion:
    ((_, came),) = student.engine.complete([asked_for])
    assert isinstance(came, Completion)
    return came


def told_apart(texts: list[str], opened: bool) -> tuple[str, str]:
    parts = list(chat.Parts(opened=opened).read(texts))
    return "".join(text for thinking, text in parts if thinking), "".join(
        text for thinking, text in parts if not thinking
    )


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    ("text", "opened"),
    [
        ("one and one\n</think>\n\nThe answer is 2.\n", True),
        ("<think>\nif a < b, then </thin\n</think>\n\n2 < 3 <b>", False),
        ("<think>\n<think>\nthinking for ever", True),
        ("no tags at all <thi", False),
        ("", True),
    ],
)
def test_thinking_and_answer_come_apart_wherever_the_pieces_end(text: str, opened: bool, size: int) -> None:
    thought = think.split(text, opened=opened)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert told_apart(pieces, opened) == (thought.reasoning, thought.answer)


def test_thinking_that_opens_again_is_no_answer() -> None:
    assert told_apart(["a</think>b", "<think>c"], True) == ("ac", "b")


@pytest.mark.parametrize("seed", [0, 7])
def test_what_streams_is_what_complete_gives(teacher: chat.Student, seed: int) -> None:
    whole = completed(teacher, request(seed=seed))
    text = "".join(chat._texts(teacher.engine, request(seed=seed)))
    assert told_apart([text], True) == (whole.reasoning, whole.answer) and whole.answer


def test_letters_of_several_tokens_are_never_torn(teacher: chat.Student, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "π ≠ 三 🙂 done"
    ids = teacher.engine.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) > len(text.split())
    monkeypatch.setattr(teacher.engine, "stream", lambda _: iter(ids))
    pieces = list(chat._texts(teacher.engine, request()))
    assert "".join(pieces) == text and not any("\ufffd" in piece for piece in pieces)


def test_thinking_is_dim_and_the_answer_is_not(teacher: chat.Student) -> None:
    screen = io.StringIO()
    chat._say(teacher, request(), Console(file=screen, force_terminal=True, color_system="standard", width=80))
    whole, shown = completed(teacher, request()), screen.getvalue()
    dim = "".join(re.findall(r"\x1b\[2m(.*?)\x1b\[0m", shown, re.DOTALL))
    rest = re.sub(r"\x1b\[2m.*?\x1b\[0m", "", shown, flags=re.DOTALL)
    assert "".join(dim.split()) == "".join(whole.reasoning.split())
    assert rest.strip() == whole.answer and f"\n\n{whole.answer}\n" in rest.replace("\x1b[0m", "")


def test_nothing_that_steers_a_terminal_is_shown() -> None:
    assert printable("a\x1b[2J\x07\r\u202eb\n\tc\x9b1m é三") == "a[2Jb\n\tc1m é三"


def test_a_prompt_that_is_too_long_is_said(teacher: chat.Student) -> None:
    with pytest.raises(EngineError, match=r"the prompt has .* tokens, and the model's context has"):
        next(teacher.engine.stream(request("1 + " * 5000)))


def sealed(root: Path, **facts: Any) -> Run:
    """A run that was trained, as the train stage seals it."""
    run = Run(root)
    root.mkdir()
    recipe = {"gate": {"sampling": {"max_tokens": 99}}, "student": {"trust_remote_code": False}}
    (root / "recipe.json").write_text(json.dumps(recipe))
    if facts:
        run.seal("train", "x", {"base_revision": "", "step": 3, "tokens": 9, "loss_tokens": 9, **facts})
    return run


def adapter_on(base: str, quantization: str, folder: Path) -> torch.Tensor:
    """Writes an adapter that does something; gives the logits of plain peft on one prompt."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plain = AutoModelForCausalLM.from_pretrained(
        model_path(base), dtype=torch.float32, quantization_config=settings(quantization, torch.float32)
    )
    model = get_peft_model(plain, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")).eval()
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_path(base)).save_pretrained(folder)
    with torch.inference_mode():
        logits: torch.Tensor = model(torch.tensor([[5, 6, 7, 8]])).logits
    return logits


def test_a_run_talks_as_soon_as_it_is_trained(tmp_path: Path) -> None:
    run = sealed(tmp_path / "r", path="4-student/model", base="bundled:base", adapter=True, quantization="nf4")
    wanted = adapter_on("bundled:base", "nf4", run.root / "4-student" / "model")
    student = chat.of_run(run)
    assert student.sampling == Sampling(max_tokens=99)
    assert "step 3, an adapter on bundled:base" in student.name
    with torch.inference_mode():
        found = student.engine.model(torch.tensor([[5, 6, 7, 8]])).logits
    assert torch.allclose(found, wanted, atol=1e-5)
    assert "".join(chat._texts(student.engine, request()))
    assert not (run.root / "5-gate").exists()


def test_merged_weights_are_talked_to_once_they_are_there(tmp_path: Path) -> None:
    run = sealed(tmp_path / "r", path="4-student/model", base="bundled:base", adapter=True, quantization="nf4")
    (run.root / "5-gate").mkdir()
    (run.root / "5-gate" / "merged").symlink_to(model_path("bundled:base"))
    assert "merged weights" in chat.of_run(run).name


def test_what_cannot_be_talked_to_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"r has no trained student yet; `distill train RECIPE` makes it$"):
        chat.of_run(sealed(tmp_path / "r"))
    gone = sealed(tmp_path / "g", path="4-student/model", base="bundled:base", adapter=True, quantization="none")
    with pytest.raises(InputError, match=r"there is no trained student in .*4-student/model; train it again"):
        chat.of_run(gone)
    (tmp_path / "bf16").mkdir()
    (tmp_path / "bf16" / "config.json").write_text("{}")
    with pytest.raises(InputError, match=re.escape(f"; write {tmp_path / 'bf16'}")):
        chat.of_folder(str(tmp_path))
    with pytest.raises(InputError, match=r"'nothing' is neither a run .* nor a model folder with a config\.json"):
        chat.of_folder("nothing")


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TERM": "xterm-256color"}


@pytest.mark.slow
def test_piped_questions_get_plain_answers_and_the_thinking_goes_aside(teacher: chat.Student, tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "bundled:teacher", "--max-tokens", "128"],
        input=f"{QUESTION}\n\n{QUESTION}\n",
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    whole = completed(teacher, request())
    first, second = done.stdout.splitlines()
    assert first == whole.answer and second.startswith("The answer is")
    assert done.stderr.startswith(f"{whole.reasoning}\n") and "\x1b" not in done.stdout + done.stderr


def endless(folder: Path) -> str:
    """A model that never ends an answer: one column of its hidden states, always positive, speaks against the end."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path("bundled:base"))
    model = AutoModelForCausalLM.from_pretrained(model_path("bundled:base"), dtype=torch.float32)
    embedded = model.get_input_embeddings().weight
    model.lm_head.weight = torch.nn.Parameter(embedded.detach().clone())
    model.config.tie_word_embeddings = False
    with torch.no_grad():
        embedded[:, 0] = 1000.0
        model.model.norm.weight[0] = 1.0
        model.lm_head.weight[:, 0] = 0.0
        model.lm_head.weight[tokenizer.eos_token_id, 0] = -1000.0
        model.lm_head.weight[tokenizer.convert_tokens_to_ids(think.CLOSE), 0] = -1000.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.slow
def test_at_a_terminal_ctrl_c_stops_an_answer_and_ctrl_d_ends(tmp_path: Path) -> None:
    folder = endless(tmp_path / "endless")
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execve(sys.executable, [*COMMAND, folder], environment())
    seen = ""

    def until(pattern: str) -> None:
        nonlocal seen
        end = time.monotonic() + 200
        while not (found := re.search(pattern, seen, re.DOTALL)):
            assert time.monotonic() < end, seen[-2000:]
            if select.select([terminal], [], [], 1.0)[0]:
                seen += os.read(terminal, 65536).decode()
        seen = seen[found.end() :]

    try:
        until("Ctrl-C stops an answer.*> ")
        os.write(terminal, b"hi\n")
        until("\x1b\\[2m")
        os.write(terminal, b"\x03")
        until(r"\(stopped\).*> ")
        os.write(terminal, b"\x04")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(terminal)
