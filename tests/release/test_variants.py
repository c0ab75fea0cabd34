"""The variants: made once, quantized as said, and loaded by plain transformers."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from distill.release.variants import build
from tests.students import tiny


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merged")
    tiny.model().to(torch.bfloat16).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("variant", "kept"), [("int8", {"load_in_8bit": True}), ("nf4", {"bnb_4bit_quant_type": "nf4"})]
)
def test_a_quantized_variant_is_smaller_and_answers_as_before_it_was_saved(
    merged: Path, tmp_path: Path, variant: str, kept: dict[str, object]
) -> None:
    folder = build(merged, variant, tmp_path / variant)
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    assert config["quant_method"] == "bitsandbytes" and kept.items() <= config.items()
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    whole = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.bfloat16)
    assert loaded.get_memory_footprint() < whole.get_memory_footprint()
    ids = AutoTokenizer.from_pretrained(folder)("What is 1+1?", return_tensors="pt")
    with torch.no_grad():
        ours, theirs = (model(**ids).logits.float() for model in (loaded, whole))
    assert 0 < (ours - theirs).abs().max() < 0.5, "the same model, but for rounding"
    made = loaded.generate(**ids, max_new_tokens=4, do_sample=False)
    assert made.shape[1] == ids["input_ids"].shape[1] + 4 or made[0, -1] == loaded.config.eos_token_id
    assert (folder / "tokenizer.json").exists() and (folder / "chat_template.jinja").exists()


def test_bf16_is_a_copy_and_nothing_is_made_twice(merged: Path, tmp_path: Path) -> None:
    folder = build(merged, "bf16", tmp_path / "bf16")
    assert (folder / "model.safetensors").read_bytes() == (merged / "model.safetensors").read_bytes()
    (folder / "config.json").write_text("kept")
    assert build(merged, "bf16", folder) == folder and (folder / "config.json").read_text() == "kept"
    assert not list(tmp_path.glob("*.partial"))


def test_what_a_killed_process_left_is_made_anew(merged: Path, tmp_path: Path) -> None:
    (tmp_path / "bf16.partial").mkdir()
    (tmp_path / "bf16.partial" / "half").write_text("half a file")
    assert not (build(merged, "bf16", tmp_path / "bf16") / "half").exists()


def test_there_is_no_other_variant(merged: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no variant 'fp4'"):
        build(merged, "fp4", tmp_path / "fp4")
    assert not list(tmp_path.iterdir())
