"""Every way of training runs, lowers the loss, resumes, and leaves what plain peft and transformers load."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from distill.errors import DistillError, InputError
from distill.records import Checkpoint
from distill.student_sections import Student
from students import attention, defaults
from students.batches import collate
from students.documents import Document
from students.merge import merge
from students.model import load_base, load_model
from students.progress import Log
from students.render import render

_spec = importlib.util.spec_from_file_location("students_tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

LORA = {"rank": 8}
train = tiny.train


def section(base: str, **changes) -> Student:
    settings = {"base": base, "dtype": "float32", "learning_rate": 5e-3, "batch_tokens": 1024, "max_steps": 6}
    if changes.get("lora"):
        settings |= {"learning_rate": 1e-2, "max_steps": 14}
    return Student(**(settings | changes))


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def input_ids(tok) -> torch.Tensor:
    return torch.tensor([tok("What is 1+1?")["input_ids"]])


def documents(rows) -> list[Document]:
    made = [render(tiny.tokenizer(), one) for one in rows]
    return [Document(torch.tensor(one.ids, dtype=torch.int32), one.prompt_tokens) for one in made]


@pytest.mark.parametrize("packed", [False, True])
def test_batched_documents_get_the_logits_they_get_alone(packed: bool) -> None:
    model, alone = tiny.model().eval(), tiny.model().eval()
    assert attention.use(model) or not packed
    rows = documents(tiny.traces(6))
    if not packed:
        model = alone
    together = tiny.hidden_states(model, collate(packed, [rows]))
    apart = together.split([one.tokens for one in rows], 1) if packed else together.split(1)
    for document, hidden in zip(rows, apart, strict=True):
        logits = model.lm_head(hidden[0, : document.tokens])
        torch.testing.assert_close(logits, alone(document.ids_T.long()[None]).logits[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("accumulated", [1, 3])
def test_loss_is_the_mean_over_all_tokens_of_the_step(base: str, tmp_path: Path, accumulated: int, monkeypatch) -> None:
    rows = tiny.traces(6)
    monkeypatch.setattr("students.batches.SMALLEST_MICRO", 1 if accumulated > 1 else 2048)
    train(section(base, max_steps=1, batch_tokens=10_000 if accumulated == 1 else 4000), rows, tmp_path, print)
    batch = collate(False, [documents(rows)])
    plain = AutoModelForCausalLM.from_pretrained(base)(**batch).loss.item()
    assert losses(tmp_path)[0] == pytest.approx(plain, abs=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dtype": "bfloat16", "gradient_checkpointing": True},
        {"lora": LORA},
        {"lora": LORA, "dtype": "bfloat16", "gradient_checkpointing": True},
        {"lora": LORA, "quantization": "nf4"},
        {"lora": LORA, "quantization": "nf4", "dtype": "bfloat16", "gradient_checkpointing": True},
        {"lora": LORA, "quantization": "int8"},
        {"optimizer": "adamw_bnb_8bit"},
    ],
    ids=str,
)
def test_loss_falls_and_what_is_left_loads(base: str, tmp_path: Path, changes: dict) -> None:
    from peft import PeftModel

    said: list[str] = []
    made = train(section(base, **changes), tiny.traces(24), tmp_path / "run", said.append)
    seen = losses(tmp_path / "run")
    assert [one.split("  ")[0] for one in (said[0], said[-1])] == [f"step {at}/{made.step}" for at in (1, made.step)]
    assert len(seen) == made.step >= 6 and seen[-1] < seen[0] - 0.3
    facts = json.loads((tmp_path / "run" / "train.json").read_text())
    assert facts["traces"] == 24 and facts["tokens"] == made.tokens > made.loss_tokens > 0
    tok = AutoTokenizer.from_pretrained(made.path)
    assert tok.chat_template
    merge(made, False, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template.startswith(tok.chat_template)
    settings = GenerationConfig.from_pretrained(tmp_path / "merged")
    assert (settings.do_sample, settings.temperature, settings.top_p) == (True, 0.6, 0.95)
    if made.adapter:
        loaded = load_base(base, None, made.quantization, "float32", False)
        trained = PeftModel.from_pretrained(loaded, made.path)
    else:
        trained = AutoModelForCausalLM.from_pretrained(made.path, dtype=torch.float32)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        ids = input_ids(tok)
        off = (merged(ids).logits - trained(ids).logits).abs().max()
        moved = (merged(ids).logits - plain(ids).logits).abs().max()
    assert off < 0.1 * moved, (off, moved)


@pytest.mark.parametrize("lora", [None, LORA])
def test_resumes_after_a_kill_to_the_same_loss(base: str, tmp_path: Path, monkeypatch, lora: dict | None) -> None:
    settings = section(base, max_steps=8, save_every_steps=2, lora=lora, seed=3)
    rows = tiny.traces(24)
    whole = train(settings, rows, tmp_path / "whole", print)
    plain = Log.on_log

    def dying(self, args, state, control, **rest):
        plain(self, args, state, control, **rest)
        if state.global_step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Log, "on_log", dying)
    with pytest.raises(KeyboardInterrupt):
        train(settings, rows, tmp_path / "cut", print)
    monkeypatch.setattr(Log, "on_log", plain)
    torn = tmp_path / "cut" / "checkpoints" / "checkpoint-6"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_')
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    again = train(settings, rows, tmp_path / "cut", print)
    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "whole"), abs=1e-6)
    assert (again.step, again.tokens, again.loss_tokens) == (whole.step, whole.tokens, whole.loss_tokens)


def test_an_untied_head_is_trained(tmp_path: Path) -> None:
    source = tiny.base(tmp_path / "base", tied=False)
    made = train(section(source, max_steps=2), tiny.traces(8), tmp_path / "run", print)
    before, after = (AutoModelForCausalLM.from_pretrained(path) for path in (source, made.path))
    assert not torch.equal(before.lm_head.weight, after.lm_head.weight)


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
def test_adapter_spares_the_head(base: str, quantization: str) -> None:
    model = load_model(section(base, lora=LORA, dtype="bfloat16", quantization=quantization), tiny.tokenizer())
    adapted = {name.split(".lora_A")[0].split(".")[-1] for name, _ in model.named_parameters() if ".lora_A" in name}
    assert {p.dtype for n, p in model.named_parameters() if "lora_" in n} == {torch.float32}
    assert model.get_base_model().lm_head.weight.dtype == torch.bfloat16
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_a_loss_that_is_no_number_ends_the_training(base: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("students.trainer.chunked_cross_entropy", lambda h, w, t: h.sum() * float("nan"))
    with pytest.raises(DistillError, match="the loss is nan at step 1"):
        train(section(base), tiny.traces(4), tmp_path, print)
    assert not (tmp_path / "model").exists()


def test_bad_input_is_told_in_one_sentence(base: str, tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="curation kept no trace"):
        train(section(base), [], tmp_path, print)
    with pytest.raises(DistillError, match=r"longer than student\.max_tokens: 10"):
        train(section(base, max_tokens=10), tiny.traces(2), tmp_path, print)
    with pytest.raises(InputError, match=r"student\.base: .*there is no model folder /nowhere/at/all"):
        train(section("/nowhere/at/all"), tiny.traces(2), tmp_path, print)
    bare = tmp_path / "bare"
    tok = tiny.tokenizer()
    tok.chat_template = None
    tok.save_pretrained(bare)
    tiny.model().save_pretrained(bare)
    with pytest.raises(InputError, match="no chat template"):
        train(section(str(bare)), tiny.traces(2), tmp_path, print)
    tok.chat_template = tiny.TEMPLATE
    tok.add_tokens([f"<x{i}>" for i in range(20)])
    tok.save_pretrained(bare)
    with pytest.raises(InputError, match="embeds 272 tokens"):
        train(section(str(bare)), tiny.traces(2), tmp_path, print)
    with pytest.raises(InputError, match="no checkpoint folder"):
        merge(Checkpoint("/nowhere", base, "", True, "none", 1, 1, 1), False, tmp_path / "out")


def test_first_rates_are_deepseeks() -> None:
    assert defaults.learning_rate(1_500_000_000, lora=False) == 1e-4
    assert defaults.learning_rate(7_000_000_000, lora=True, model_type="qwen2") == pytest.approx(8e-4)
    assert defaults.learning_rate(8_000_000_000, lora=False, model_type="llama") == 5e-5
    assert defaults.learning_rate(65_000_000_000, lora=False, model_type="llama") == 2e-5
