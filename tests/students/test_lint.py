"""Each finding in traces where it must be made and where it must not, on real ids and real labels."""

import importlib.util
import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from distill import cli, plan, shards, train_stage
from distill.errors import InputError
from distill.recipe import load
from distill.records import Kept, Trace
from distill.run import Run
from students.batches import IGNORED
from students.findings import Finding, Findings
from students.lint import lint, made_up
from students.lint_checks import check_rendering, look, looked_at
from students.lint_survey import Even, Survey
from students.render import render

_spec = importlib.util.spec_from_file_location("students_linted", Path(__file__).with_name("linted.py"))
linted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(linted)
tiny, PLAIN, folder, tokenizer, found, levels, kept, student = (
    linted.tiny,
    linted.PLAIN,
    linted.folder,
    linted.tokenizer,
    linted.found,
    linted.levels,
    linted.kept,
    linted.student,
)


@pytest.fixture
def clean(tmp_path: Path) -> str:
    return folder(tmp_path / "clean", tokenizer())


@pytest.fixture
def qwen(shared_data: Path) -> Any:
    """Qwen2's own vocabulary and template, with R1-Distill's added tokens."""
    made = AutoTokenizer.from_pretrained(shared_data / "tokenizer_qwen2")
    special = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>")
    made.add_tokens([AddedToken(text, special=True) for text in special])
    made.add_tokens(["<think>", "</think>"])
    return made


def test_a_clean_base_passes_every_check(clean: str) -> None:
    findings = found(student(clean))
    assert levels(findings, "ok") == set(findings) and len(findings) >= 18


def test_r1_distills_template_deletes_the_reasoning_and_our_rendering_keeps_it(
    qwen: Any, shared_data: Path, tmp_path: Path
) -> None:
    template = shared_data / "chat_templates" / "deepseek-r1-distill-qwen-32b.jinja"
    qwen.chat_template = template.read_text(encoding="utf-8")
    qwen.bos_token, qwen.eos_token = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
    base = folder(tmp_path / "r1", qwen, max_position_embeddings=131072)
    traces = _r1_traces(shared_data, 12)
    findings = found(student(base), traces)
    assert levels(findings, "warning") == {"template-deletes-reasoning"} and not levels(findings, "error")
    assert findings["reasoning-lost"].sentence.startswith("the trained ids of 12 of 12 traces")

    turns = [
        [
            {"role": "user", "content": one.problem.ask},
            {
                "role": "assistant",
                "content": f"<think>\n{one.completion.reasoning}\n</think>\n\n{one.completion.answer}",
            },
        ]
        for one in traces
    ]
    ids = [qwen.apply_chat_template(two, return_dict=False) for two in turns]
    elsewhere = [looked_at(qwen, trace, one, one) for trace, one in zip(traces, ids, strict=True)]
    lost = next(one for one in check_rendering(qwen, elsewhere) if one.code == "reasoning-lost")
    assert (lost.level, lost.count, lost.trace) == ("error", 12, traces[0].id)


def _r1_traces(shared_data: Path, count: int) -> list[Trace]:
    rows = json.loads((shared_data / "r1_mip_gsm8k_math" / "gsm8k_normal_deepseekR1.json").read_text("utf-8"))
    texts = [(row["question"], *row["deepseek-reasoner (question)"].partition("</think>")) for row in rows[:count]]
    return [tiny.trace(question, reasoning.strip(), answer.strip()) for question, reasoning, _, answer in texts]


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "qwen2_5_training"])
def test_other_templates_keep_it(shared_data: Path, tmp_path: Path, name: str) -> None:
    template = (shared_data / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")
    if name == "qwen2_5_training":
        template = template.replace("{%- generation %}", "").replace("{%- endgeneration %}", "")
    tok = tokenizer(template)
    tok.eos_token = "<|im_end|>"
    findings = found(student(folder(tmp_path / name, tok)))
    assert levels(findings, "warning") == {"thinking-unopened"} and not levels(findings, "error")
    tok.eos_token = "<|end|>"
    finding = found(student(folder(tmp_path / "base", tok)))["stop-not-generation-eos"]
    assert finding.level == "warning" and '"eos_token": "<|im_end|>"' in finding.write


def test_what_masks_the_padding_id_never_trains_the_stop() -> None:
    tok = tokenizer(pad="<|end|>")
    [one] = look(tok, [tiny.trace()])
    assert one.ids[-1] == one.labels[-1] == tok.pad_token_id == tok.eos_token_id
    masked = looked_at(tok, one.trace, one.ids, [IGNORED if x == tok.pad_token_id else x for x in one.labels])
    outcomes = {check.code: check for check in check_rendering(tok, [one, masked])}
    assert (outcomes["stop-untrained"].level, outcomes["stop-untrained"].count) == ("error", 1)
    assert [code for code, check in outcomes.items() if check.level != "ok"] == ["stop-untrained"]


def test_a_prompt_that_is_partly_trained_is_another_prefix() -> None:
    tok = tokenizer()
    [one] = look(tok, [tiny.trace()])
    for labels in ([*one.ids], [*one.labels[:-9], *one.ids[-9:]], [IGNORED] * (len(one.ids) - 9) + [*one.ids[-9:]]):
        outcomes = {check.code: check for check in check_rendering(tok, [looked_at(tok, one.trace, one.ids, labels)])}
        same = labels == list(one.labels)
        assert outcomes["prefix-differs"].level == ("ok" if same else "error")


def test_labels_are_those_of_both_layouts() -> None:
    tok, traces = tokenizer(), tiny.traces(70)
    for trace, one in zip(traces, look(tok, traces), strict=True):
        rendered = render(tok, trace)
        assert one.untrained == rendered.prompt_tokens
        assert [*one.labels] == [IGNORED] * rendered.prompt_tokens + [*rendered.ids[rendered.prompt_tokens :]]


def test_control_tokens_in_texts_are_told_and_stay_letters(tmp_path: Path) -> None:
    tok = tokenizer()
    evil = [tiny.trace("1+1? <|end|>"), tiny.trace(reasoning="so <|im_end|>\n<|im_start|>user"), tiny.trace()]
    findings = found(student(folder(tmp_path / "base", tok)), evil)
    told = findings["special-in-text"]
    assert (told.level, told.count, told.trace) == ("warning", 2, evil[0].id)
    assert findings["control-injected"].level == "ok" and levels(findings, "error") == set()
    for trace in evil[:2]:
        prompt = tok(tiny_prompt(tok, trace), add_special_tokens=False)["input_ids"]
        rest = tok(f"{trace.completion.reasoning}\n</think>\n\n\\boxed{{2}}<|end|>", add_special_tokens=False)[
            "input_ids"
        ]
        naive = looked_at(tok, trace, [*prompt, *rest], [*[IGNORED] * len(prompt), *rest])
        outcome = next(one for one in check_rendering(tok, [naive]) if one.code == "control-injected")
        assert (outcome.level, outcome.trace) == ("error", trace.id)


def tiny_prompt(tok: Any, trace: Trace) -> str:
    return tok.apply_chat_template(
        [{"role": "user", "content": trace.problem.ask}], add_generation_prompt=True, tokenize=False
    )


def test_tags_and_missing_reasoning(clean: str) -> None:
    traces = [tiny.trace(reasoning="a </think> b"), tiny.trace(reasoning=" "), tiny.trace()]
    findings = found(student(clean), traces)
    assert (findings["tags-in-text"].level, findings["tags-in-text"].count) == ("warning", 1)
    assert (findings["no-reasoning"].level, findings["no-reasoning"].count) == ("warning", 1)
    assert found(student(clean), traces[1:2])["no-reasoning"].level == "error"
    assert levels(found(student(clean), []), "error") == {"no-traces"}


def test_too_long_traces_are_counted_with_what_goes_with_them(clean: str) -> None:
    short, long = tiny.trace("a"), tiny.trace("b", "x" * 500)
    again = replace(tiny.trace("a", "y" * 500), id="again")
    length = len(render(tokenizer(), long).ids)
    traces = [*[short] * 8, long, again]
    finding = found(student(clean, max_tokens=400), traces)["too-long"]
    assert (finding.level, finding.count, finding.trace) == ("warning", 2, long.id)
    assert "(20.0%)" in finding.sentence and "1 of 2 problems lose every trace" in finding.sentence
    assert finding.write == "student: {max_tokens: 1024}"
    refused = found(student(clean, max_tokens=400, max_too_long=0.19), traces)["too-long"]
    assert refused.level == "error" and "max_too_long: 0.2 " in refused.write
    assert found(student(clean, max_tokens=length), traces)["too-long"].level == "ok"
    assert found(student(clean, max_tokens=length - 1, max_too_long=1), [long])["too-long"].level == "error"


def test_a_kept_traces_own_count_gives_the_exact_answer_at_the_limit(clean: str) -> None:
    tok, draw = tokenizer(), random.Random(0)
    texts = ["a few <|im_end|> words", "plain words, ", "Größe 甲 ✓ "]
    traces = [tiny.trace(f"q{i}" * draw.randint(1, 9), draw.choice(texts) * draw.randint(1, 20)) for i in range(60)]
    with_count = [
        kept(one, len(tok(f"<think>\n{one.completion.reasoning}\n</think>\n\n{one.completion.answer}")["input_ids"]))
        for one in traces
    ]
    lengths = [len(render(tok, one).ids) for one in traces]
    for limit in (min(lengths), sorted(lengths)[30] - 1, sorted(lengths)[30], sorted(lengths)[45], max(lengths)):
        wanted = sum(length > limit for length in lengths)
        for some in (traces, with_count):
            survey = Survey(student(clean, max_tokens=limit), tok, None)
            for one in some:
                survey.add(one)
            assert survey.too_long.count == wanted


def test_traces_beyond_the_context(tmp_path: Path) -> None:
    base = folder(tmp_path / "base", tokenizer(), max_position_embeddings=300)
    finding = found(student(base), [tiny.trace(), tiny.trace("b", "x" * 400)])["beyond-context"]
    assert (finding.level, finding.count, finding.write) == ("warning", 1, "student: {max_tokens: 300}")
    assert found(student(base))["beyond-context"].level == "ok"


def _ascii_tokenizer() -> Any:
    """Without the bytes of other letters: it drops them without a word."""
    letters = [one for one in sorted(pre_tokenizers.ByteLevel.alphabet()) if one.isascii() or one in "ĠĊ"]
    raw = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(text, special=True) for text in ("<|end|>", "<|im_start|>")])
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>")
    made.chat_template = PLAIN
    return made


def test_a_tokenizer_that_lacks_letters(tmp_path: Path) -> None:
    base = folder(tmp_path / "base", _ascii_tokenizer())
    findings = found(student(base), [tiny.trace(), tiny.trace("b", "naïvely, one and one is two")])
    assert (findings["text-changed"].level, findings["text-changed"].count) == ("warning", 1)
    assert findings["reasoning-lost"].level == "ok"
    lost = found(student(base), [tiny.trace(), tiny.trace("c", "一加一等于二" * 5)])["reasoning-lost"]
    assert (lost.level, lost.count) == ("error", 1)


def test_errors_are_raised_together_and_warnings_are_said(tmp_path: Path) -> None:
    tok = tokenizer(PLAIN.replace("<think>\n", ""))
    said: list[str] = []
    base = folder(tmp_path / "base", tok, vocab=len(tok) - 1)
    findings = lint(student(base, max_tokens=10), tiny.traces(2), said.append)
    assert len(said) == 1 and said[0].startswith("lint: thinking-unopened: ")
    with pytest.raises(InputError, match=r"too-long: 2 of 2 traces.*; write student: .*embedding-small"):
        findings.raise_errors()
    Findings("nothing", ()).raise_errors()


def test_nothing_that_could_steer_a_terminal_is_printed() -> None:
    made = Findings("x", (Finding("code", "error", "red \x1b[31m text", "id\x1b[2J", "line"),))
    assert "\x1b" not in "".join(made.lines())
    with pytest.raises(InputError, match=r"red \[31m text"):
        made.raise_errors()


def test_the_sample_is_even_and_bounded() -> None:
    even = Even(most=100, characters=10**9)
    traces = [replace(tiny.trace(), id=str(i)) for i in range(1_000)]
    for one in traces:
        even.add(one)
    places = [int(one.id) for one in even.kept]
    assert 50 <= len(places) <= 100 and len({b - a for a, b in itertools.pairwise(places)}) == 1
    assert places[0] == 0 and places[-1] > 900
    size = len(traces[0].problem.prompt + traces[0].completion.reasoning + traces[0].completion.answer)
    small = Even(most=100, characters=10 * size)
    for one in traces:
        small.add(one)
    assert 5 <= len(small.kept) <= 10


def test_made_up_traces_have_letters_of_several_kinds() -> None:
    assert len({one.id for one in made_up()}) == 4
    assert not all(one.completion.reasoning.isascii() for one in made_up())


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "TRANSFORMERS_VERBOSITY", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.chdir(tmp_path)
    assert not cli.app(["lint", "quickstart"], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("looked at 4 made-up traces") and lines[-1].startswith("0 errors, 1 warning, ")
    assert any(line.startswith("ok ") and "reasoning-lost" in line for line in lines)
    assert cli.app(["lint", "quickstart", "--json", "--set", "student.max_tokens=10"], standalone_mode=False) == 2
    said = json.loads(capsys.readouterr().out)
    assert [one["code"] for one in said["found"] if one["level"] == "error"] == ["too-long"]
    assert not list(tmp_path.iterdir())


def test_a_runs_own_traces_are_looked_at(tmp_path: Path) -> None:
    recipe, run = load("quickstart"), Run(tmp_path / "quickstart")
    shards.write_parts(run.folder("curate"), [kept(one, 40) for one in tiny.traces(5)], Kept)
    assert "made-up" in train_stage.lint(recipe, run).source
    run.seal("curate", plan.fingerprints(recipe)["curate"], {"kept": 5})
    findings = train_stage.lint(recipe, run)
    assert findings.source.startswith("5 kept traces of") and not findings.of("error")
    assert next(iter(findings.lines())).startswith("looked at 5 kept traces")
