"""Each finding in a base's files and in settings, where it must be made and where it must not."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import processors

from students.lint import lint

_spec = importlib.util.spec_from_file_location("students_linted", Path(__file__).with_name("linted.py"))
linted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(linted)
tiny, PLAIN, folder, tokenizer, found, student = (
    linted.tiny,
    linted.PLAIN,
    linted.folder,
    linted.tokenizer,
    linted.found,
    linted.student,
)


@pytest.fixture
def clean(tmp_path: Path) -> str:
    return folder(tmp_path / "clean", tokenizer())


def test_padding_that_is_eos_is_a_note(tmp_path: Path) -> None:
    findings = found(student(folder(tmp_path / "base", tokenizer(pad="<|end|>"))))
    assert findings["pad-is-eos"].level == "note" and findings["stop-untrained"].level == "ok"


def _bos_tokenizer(template: str) -> Any:
    """Like Llama's: it begins every text with BOS by itself."""
    made = tokenizer(template)
    made.add_special_tokens({"bos_token": "<s>"})
    bos = ("<s>", made.bos_token_id)
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[bos])
    assert made("1")["input_ids"][0] == made.bos_token_id
    return made


@pytest.mark.parametrize(
    ("before", "bos", "double"),
    [("{{ bos_token }}", "note", "ok"), ("", "warning", "ok"), ("{{ bos_token }}{{ bos_token }}", "note", "error")],
)
def test_begin_of_sequence(tmp_path: Path, before: str, bos: str, double: str) -> None:
    findings = found(student(folder(tmp_path / "base", _bos_tokenizer(before + PLAIN))))
    assert (findings["bos"].level, findings["double-bos"].level) == (bos, double)


def test_llamas_own_template_writes_it_once(shared_data: Path, tmp_path: Path) -> None:
    template = (shared_data / "chat_templates" / "llama3_1.jinja").read_text(encoding="utf-8")
    findings = found(student(folder(tmp_path / "base", _bos_tokenizer(template))))
    assert (findings["bos"].level, findings["double-bos"].level) == ("note", "ok")


def test_a_template_with_a_clock(tmp_path: Path) -> None:
    dated = "{{ strftime_now('%d %b %Y') }}\n" + PLAIN
    assert found(student(folder(tmp_path / "base", tokenizer(dated))))["template-clock"].level == "warning"


def test_an_embedding_too_small(tmp_path: Path) -> None:
    tok = tokenizer()
    finding = found(student(folder(tmp_path / "small", tok, vocab=len(tok) - 1)))["embedding-small"]
    assert finding.level == "error" and finding.count > 0 and f"embeds {len(tok) - 1} tokens" in finding.sentence
    assert found(student(folder(tmp_path / "padded", tok, vocab=272)))["embedding-small"].level == "ok"


def test_generation_that_stops_elsewhere_is_a_note(tmp_path: Path) -> None:
    tok = tokenizer()
    elsewhere = folder(tmp_path / "base", tok, eos_token_id=tok.convert_tokens_to_ids("<|im_end|>"))
    finding = found(student(elsewhere))["stop-not-generation-eos"]
    assert finding.level == "note" and "<|im_end|>" in finding.sentence


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "ok"),
        ({"learning_rate": 1e-4}, "ok"),
        ({"learning_rate": 6e-4}, "warning"),
        ({"learning_rate": 1e-6}, "warning"),
        ({"learning_rate": 6e-4, "lora": {"rank": 8}}, "ok"),
    ],
    ids=str,
)
def test_learning_rates(tmp_path: Path, changes: dict[str, Any], level: str) -> None:
    qwen_15b = {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12}
    base = folder(tmp_path / "base", tokenizer(), vocab=151936, tie_word_embeddings=True, **qwen_15b)
    finding = found(student(base, **changes))["rate-far"]
    assert finding.level == level
    if changes:
        assert "1,543,714,304 parameters" in finding.sentence


def test_weights_that_are_no_weights_are_a_finding(clean: str) -> None:
    (Path(clean) / "model.safetensors").write_bytes(b"<html>not found</html>")
    assert "rate-far" not in (findings := found(student(clean, learning_rate=1e-4)))
    assert findings["unloadable"].level == "error" and "model.safetensors" in findings["unloadable"].sentence


def test_a_base_of_no_published_size_gets_a_note(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    finding = found(student(base, learning_rate=5e-3))["rate-far"]
    assert finding.level == "note" and f"{tiny.model().num_parameters():,} parameters" in finding.sentence


def test_what_cannot_be_used_is_one_finding(tmp_path: Path) -> None:
    bare, endless = tokenizer(), tokenizer()
    bare.chat_template, endless.eos_token = None, None
    failing = tokenizer("{{ raise_exception('no user, please') }}")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.json").write_text("{}")
    torn = Path(folder(tmp_path / "torn", tokenizer()))
    (torn / "config.json").write_text(
        (torn / "config.json").read_text("utf-8").replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
    )
    cases = {
        "no-chat-template": folder(tmp_path / "bare", bare),
        "no-eos": folder(tmp_path / "endless", endless),
        "template-fails": folder(tmp_path / "failing", failing),
        "unloadable": str(empty),
    }
    for code, base in cases.items():
        assert {one.code: one.level for one in lint(student(base), [], print).found} == {code: "error"}
    for base in (str(torn), "/nowhere/at/all"):
        assert set(found(student(base))) == {"unloadable"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_settings_that_need_a_gpu(clean: str) -> None:
    findings = found(student(clean, optimizer="paged_adamw_8bit"))
    assert findings["optimizer-unpaged"].level == "note"
    slow = torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")
    assert ("dtype-slow" in found(student(clean, dtype="bfloat16"))) is slow


def test_a_tracker_that_is_not_installed(clean: str) -> None:
    missing = [name for name in ("trackio", "wandb", "tensorboard") if importlib.util.find_spec(name) is None]
    if not missing:
        pytest.skip("every tracker is installed")
    assert found(student(clean, report_to=(missing[0],)))["tracker-missing"].write == f"pip install {missing[0]}"
