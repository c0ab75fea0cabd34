"""Merging an adapter: into what it was trained against, with the difference measured; plain libraries load it all."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from distill import prompts, shards
from distill.quantization import settings
from distill.records import Trace
from distill.student_sections import Student
from students.merge import merge, told
from students.render import render

_spec = importlib.util.spec_from_file_location("students_tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


def train(base: str, folder: Path, **changes: Any) -> Any:
    section = {"base": base, "dtype": "float32", "learning_rate": 1e-2, "batch_tokens": 1024, "max_steps": 10}
    return tiny.train(Student(**(section | changes)), tiny.traces(20), folder, print)


@torch.no_grad()
def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = model.eval()(ids[None]).logits[0]
    return made


def compared(trained: torch.Tensor, other: torch.Tensor) -> dict[str, float]:
    trained, other = trained.double(), other.double()
    kl = torch.nn.functional.kl_div(
        other.log_softmax(1), trained.log_softmax(1), reduction="batchmean", log_target=True
    )
    return {
        "kl": pytest.approx(float(kl), rel=0.02, abs=2e-8),
        "largest_logit_difference": pytest.approx(float((trained - other).abs().max()), rel=0.02),
        "other_likeliest": float((trained.argmax(1) != other.argmax(1)).float().mean()),
    }


@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
def test_the_difference_is_that_of_plain_transformers_and_peft(base: str, tmp_path: Path, quantization: str) -> None:
    """Ten positions of one short trace: all those that give a token of its completion, and the last."""
    made = train(base, tmp_path, lora={"rank": 8}, quantization=quantization)
    trace = tiny.trace(reasoning="", answer="2")
    shards.write_parts(tmp_path / "few", [trace], Trace)
    facts = merge(made, False, tmp_path / "merged", tmp_path / "few")
    document = render(AutoTokenizer.from_pretrained(made.path), trace)
    ids, places = torch.tensor(document.ids), slice(document.prompt_tokens - 1, None)
    assert facts["positions"] == len(document.ids) - document.prompt_tokens + 1 <= 16
    options = {} if quantization == "none" else {"quantization_config": settings(quantization, torch.float32)}
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **options)
    trained = logits(PeftModel.from_pretrained(plain, made.path), ids)[places]
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert facts["merged"] == compared(trained, logits(merged, ids)[places])
    assert json.loads((tmp_path / "merge.json").read_text()) == facts
    assert not list(tmp_path.glob("*.unmeasured")) and not list(tmp_path.glob("*.partial"))
    if quantization == "none":
        assert "into_original" not in facts
        return
    whole = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    original = PeftModel.from_pretrained(whole, made.path).merge_and_unload().bfloat16().float()
    assert facts["into_original"] == compared(trained, logits(original, ids)[places])


def test_a_4_bit_adapter_belongs_to_the_dequantized_weights(base: str, tmp_path: Path) -> None:
    made = train(base, tmp_path, lora={"rank": 8}, quantization="nf4")
    facts = merge(made, False, tmp_path / "merged", tmp_path / "kept")
    assert facts["positions"] == 16 * 16
    assert facts["merged"]["kl"] < 1e-5 and facts["into_original"]["kl"] > 20 * facts["merged"]["kl"]
    assert told(facts) == (
        f"merged: mean KL {facts['merged']['kl']:.2g} nats per token to what was trained "
        f"(it would be {facts['into_original']['kl']:.2g} into the base's original weights)"
    )


def test_an_adapter_loads_with_plain_peft_alone(base: str, tmp_path: Path) -> None:
    made = train(base, tmp_path, lora={"rank": 8})
    ids = torch.tensor(AutoTokenizer.from_pretrained(made.path)("What is 1+1?")["input_ids"])
    adapted = logits(AutoPeftModelForCausalLM.from_pretrained(made.path, dtype=torch.float32), ids)
    merge(made, False, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    torch.testing.assert_close(logits(merged, ids), adapted, atol=0.02, rtol=0)
    untrained = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    assert (logits(untrained, ids) - adapted).abs().max() > 0.2


def test_whole_weights_and_no_traces_measure_nothing(base: str, tmp_path: Path) -> None:
    whole = train(base, tmp_path / "whole", max_steps=1)
    assert merge(whole, False, tmp_path / "whole" / "merged", tmp_path / "whole" / "kept") == {}
    assert told({}) == "" and (tmp_path / "whole" / "merge.json").read_text() == "{}\n"
    adapter = train(base, tmp_path / "adapter", max_steps=1, lora={"rank": 8})
    assert merge(adapter, False, tmp_path / "adapter" / "merged") == {}


def test_what_ships_opens_the_thinking_as_training_did(base: str, tmp_path: Path) -> None:
    student = train(base, tmp_path / "student", max_steps=1)
    merge(student, False, tmp_path / "student" / "merged")
    before, after = (AutoTokenizer.from_pretrained(path) for path in (base, tmp_path / "student" / "merged"))
    turn = [{"role": "user", "content": "1 + 1?"}]
    asked = [one.apply_chat_template(turn, add_generation_prompt=True, tokenize=False) for one in (before, after)]
    assert asked[0].endswith("assistant\n") and asked[1] == asked[0] + "<think>\n" == prompts.rendered(before, "1 + 1?")
    finished = [
        one.apply_chat_template([*turn, {"role": "assistant", "content": "2"}], tokenize=False)
        for one in (before, after)
    ]
    assert finished[0] == finished[1]
    assert prompts.rendered(after, "1 + 1?") == asked[1]
