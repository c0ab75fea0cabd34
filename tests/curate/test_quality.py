"""Every filter on small cases, on R1's real traces, on bad traces made from these, and on hostile megabytes."""

import csv
import importlib.util
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from distill import think
from distill.curate import quality
from distill.curate_sections import Quality
from distill.records import REASONS, Trace

_spec = importlib.util.spec_from_file_location("curate_real", Path(__file__).with_name("real.py"))
assert _spec is not None and _spec.loader is not None
real = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(real)

SECTION = Quality()
CONTROLS = frozenset({"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<mine>"})
PROSE = "First we add the two numbers, and then we look whether the sum is what the problem asks for."


def trace(
    reasoning: str = "Two and two.", answer: str = "\\boxed{4}", prompt: str = "2 + 2 = ?", clean: bool = True
) -> Trace:
    made: Trace = real.made(prompt, think.Thought(reasoning, answer, True, clean))
    return made


def reason(one: Trace, section: Quality = SECTION) -> str:
    verdict = quality.form(one, section, CONTROLS)
    assert verdict is None or (not verdict.keep and verdict.reason in REASONS and verdict.detail)
    return "" if verdict is None else verdict.reason


def wall(words: int) -> str:
    """One paragraph that says a new thing with every sentence."""
    return " ".join(
        f"Then number {at} is what we get when we add {at + 3} to the rest." for at in range(words // 14 + 1)
    )


@pytest.mark.parametrize(
    ("bad", "wanted"),
    [
        (trace(answer=""), "unfinished"),
        (real.made("?", think.Thought("a", "b", True, True), "length"), "unfinished"),
        (trace("", " "), "no_answer"),
        (trace("", "Error code: 500 - {'message': 'Internal Server Error'}"), "api_error"),
        (
            trace("So it is four.", "<!DOCTYPE html><title>502 Bad Gateway</title>" + "<p>cloudflare</p>" * 100),
            "api_error",
        ),
        (trace("Hm.", "litellm.RateLimitError: RateLimitError: OpenrouterException"), "api_error"),
        (trace("Hm.", "{'object': 'error', 'message': 'context too long', 'code': 400}"), "api_error"),
        (trace("", "Traceback (most recent call last):\n  File"), "api_error"),
        (trace(""), "no_reasoning"),
        (trace("\n…\n - "), "no_reasoning"),
        (trace(clean=False), "broken_tags"),
        (trace("", " </>\n\nOkay, so four. \\boxed{4}"), "broken_tags"),
        (trace("", "think\nOkay, so four.\nanswer\n\\boxed{4}"), "broken_tags"),
        (trace("a <|im_start|> b"), "special_tokens"),
        (trace("```python\nprint(2 + 2)\n```"), "code"),
        (trace(wall(700)), "long_paragraph"),
        (trace("\n".join([PROSE] * 10)), "repetition"),
        (trace(f"{PROSE} {PROSE} 所以我们需要计算这个数。 {PROSE}"), "mixed_language"),
    ],
)
def test_each_reason(bad: Trace, wanted: str) -> None:
    assert reason(bad) == wanted


def test_the_first_reason_in_their_order_is_told() -> None:
    worst = trace("think\n```python\nprint(1)\n```\n" + "\n".join([PROSE] * 10), "<|im_end|> \\boxed{4}")
    told = []
    for better in (
        worst,
        trace(worst.completion.reasoning.removeprefix("think\n"), worst.completion.answer),
        trace(worst.completion.reasoning.removeprefix("think\n")),
        trace("\n".join([PROSE] * 10)),
        trace(PROSE),
    ):
        told.append(reason(better))
    assert told == ["broken_tags", "special_tokens", "code", "repetition", ""]


def test_thresholds_that_are_null_leave_their_filters_out() -> None:
    off = Quality(repetition=None, loop=None, foreign=None, paragraph_words=None, code="keep")
    for one in (
        trace("\n".join([PROSE] * 50)),
        trace(wall(900)),
        trace("```python\nx = f(1)\n```"),
        trace("所以" * 40 + PROSE),
    ):
        assert reason(one) and not reason(one, off)


@pytest.mark.parametrize(
    "text",
    [
        " </>\nOkay", "a </> b", "think\nOkay", "Think\r\nOkay", "Thinking...\nOkay", "a <think> b", "a </think> b",
        "<think",
        "</ think> x", "<\\/think> x", "<thinking>a</thinking>", "<THINK> a", "think>\nOkay", "ok\n/think\nb",
        "&lt;think&gt;",
        "[THINK]a[/THINK]", "◁think▷ a", "<|begin_of_thought|> a", "<|think|> a", "<\n think> a", "<Thought> a",
        "<\\/> a",
    ],
)  # fmt: skip
def test_broken_tags(text: str) -> None:
    assert quality.broken_tags(trace(text)) and quality.broken_tags(trace(answer=text))


@pytest.mark.parametrize(
    "text",
    [
        "I think\nthat it is four", "think of a number", "a <b and c> d", "x < y > z", "rethink",
        "if I think > is meant",
        "a React fragment is <>x</>", "<ANSWER>3</ANSWER>", "1 </ 2", "<thin", "so we think\n",
    ],
)  # fmt: skip
def test_whole_tags_and_comparisons_are_not_broken(text: str) -> None:
    assert quality.broken_tags(trace(f"Well, {text}")) is None or text.startswith("<think")
    assert quality.broken_tags(trace(answer=f"So {text}")) is None


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|start_header_id|>user", "<|eot_id|>",
        "[INST] x",
        "[/INST]", "<<SYS>>", "x</s>", "<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
        "<start_of_turn>user",
        "<end_of_turn>", "<bos>", "[TOOL_CALLS]", "<|system|>", "<|end|>", "<|assistant|>", "<|channel|>final",
        "<|im_end",
        "<|reserved_special_token_5|>", "<mine>", "<|END_OF_TURN_TOKEN|>", "[gMASK]",
    ],
)  # fmt: skip
def test_special_tokens_in_every_part(text: str) -> None:
    for one in (trace(f"a {text} b"), trace(answer=f"a {text} b"), trace(prompt=f"a {text} b")):
        assert quality.special_tokens(one, CONTROLS)


def test_what_templates_leave_at_the_beginning() -> None:
    assert quality.special_tokens(trace("<s> a"), CONTROLS) and quality.special_tokens(
        trace(answer="assistant\n\na"), CONTROLS
    )
    assert quality.special_tokens(trace("the teacher and the assistant\nare two"), CONTROLS) is None


@pytest.mark.parametrize(
    "text",
    [
        "<|x|>",
        "|a|<|b|",
        "|a|<|b|>c",
        "<|x_1|>",
        "<|psi|phi>",
        "||x||",
        "0<|x-2|<5",
        "⟨|x|⟩",
        "a <s> b",
        "[1]",
        "<br>",
        "<user>",
    ],
)
def test_mathematics_is_no_special_token(text: str) -> None:
    assert quality.special_tokens(trace(f"a {text} b"), CONTROLS | {"|", "<|"}) is None


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)\n```", "```\ndef f(x):\n    return x\n```", "~~~\nint x = 5;\nreturn x;\n~~~",
        "```c\nf(x);\n",
        "Here:\ndef f(n):\n    return n * 2\n", "import math\nprint(math.sqrt(2))", "#include <stdio.h>\nint main() {",
        "for i in range(10):\n    total += i", "  ```js\n  let x = 5\n  ```",
        "while True:\n    if x > 3:\n        break",
        "```python print(1)```", "> ```py\n> x = f(1)\n> ```",
    ],
)  # fmt: skip
def test_code(text: str) -> None:
    assert quality.code(trace(f"So.\n{text}"), "drop") and quality.code(trace(answer=f"So.\n{text}"), "drop")
    assert quality.code(trace(text), "keep") is None


@pytest.mark.parametrize(
    "text",
    [
        "```\n42\n```", "```python\n42\n```", "```latex\n\\frac{1}{2}\n```", "```\n$x = 5$\n```", "use `print` here",
        "```\nA -> B -> C\n```", "```\n  Jack\n  /  \\\n Al  Bo\n```", "```text\nThe answer is 4\n```", "```\n\n```",
        "for n in {1, 2, 3}:\nn^2 is 1", "if x > 3:\nthen we win\nif x < 3:\nwe lose", "x = 5;\ny = 6;\nz = 7;",
        "f(x) = 3\ng(x) = f(2)", "```\n12 + 7 = 19\n3 * 4 = 12\n```", "if n is even:\n  n/2\nelse:\n  3n+1",
        "print the sum",
        "- x: 5\n- y: 6", "# Step 1\n# Step 2", "class of 30:\nthe class of 20:",
        "\\[\n\\begin{aligned}\nx &= 3;\n\\end{aligned}\n\\]",
    ],
)  # fmt: skip
def test_what_is_no_code(text: str) -> None:
    assert quality.code(trace(f"So.\n{text}\nThen."), "drop") is None


def test_lists_and_short_lines_are_no_paragraph() -> None:
    fact = "Anna is the ancestor of Bob, and Bob is the ancestor of Carl in this family tree."
    assert quality.long_paragraph(trace("\n".join(f"{at}. {fact}" for at in range(100))), 600) is None
    assert quality.long_paragraph(trace("\n".join(f"- {fact}" for at in range(100))), 600) is None
    assert quality.long_paragraph(trace("Anna is Bob's mother.\n" * 500), 600) is None
    assert quality.long_paragraph(trace("\n".join([fact] * 100)), 600)  # wrapped lines
    assert quality.long_paragraph(trace(f"{PROSE}\n\n" * 100), 600) is None
    assert quality.long_paragraph(trace("我们需要计算这个数" * 200), 600)
    assert quality.long_paragraph(trace(wall(560)), 600) is None


def test_loops() -> None:
    assert quality.repetition(trace("\n\n".join([PROSE] * 5)), None, 4)
    assert quality.repetition(trace("\n\n".join([PROSE] * 4)), None, 4) is None
    assert quality.repetition(trace("so " * 200), None, 4)
    assert quality.repetition(trace("我们需要计算面积。" * 10), None, 4)
    assert quality.repetition(trace("a" * 5000), None, 4)
    assert quality.repetition(trace("0 " * 300), None, 4)
    assert quality.repetition(trace(answer=wall(100) + " Wait, is this right? Let me see." * 9), None, 4)


@pytest.mark.parametrize(
    "text",
    [
        " + ".join(["1"] * 40), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 " * 3, "heads heads heads heads heads heads",
        "| --- | --- | --- | --- | --- | --- | --- |", " ".join(f"{at} + {at} = {2 * at}," for at in range(200)),
        " -> ".join("Ann Bob Cem Dora Eve Finn".split() * 3),
        "\n".join(f"Day {at}: {3 * at} apples" for at in range(60)),
        "\n".join(f"- Ann{at} is the ancestor of Bob{at}" for at in range(64)),
    ],
)  # fmt: skip
def test_sums_lists_and_tables_are_no_repetition(text: str) -> None:
    assert quality.repetition(trace(text), SECTION.repetition, SECTION.loop) is None


def test_the_share_counts_words_said_before_and_not_the_answers_summary() -> None:
    one, other = wall(400), wall(200).replace("number", "value")
    between = [wall(28 * at)[-160:].replace("rest", f"rest of {at}") for at in range(1, 9)]
    again = "\n\n".join(text for part in between for text in (part, other[:700]))
    assert quality.repetition(trace(again), 0.25, None)
    assert quality.repetition(trace(one, one), 0.25, None) is None


def test_bounds_in_tokens() -> None:
    assert (
        quality.too_short(9, 10) == "9 tokens"
        and quality.too_short(10, 10) is None
        and quality.too_short(0, None) is None
    )
    assert (
        quality.too_long(11, 10) == "11 tokens"
        and quality.too_long(10, 10) is None
        and quality.too_long(9, None) is None
    )


def test_r1s_own_traces_pass(shared_data: Path) -> None:
    dropped: Counter[str] = Counter()
    count = 0
    for name, traces in real.r1(shared_data).items():
        found = Counter(filter(None, map(reason, traces)))
        print(f"{name}: {dict(found)} of {len(traces)} dropped")
        dropped += found
        count += len(traces)
    assert count == 713 and all(number < 0.01 * count for number in dropped.values())


def test_what_each_filter_says_of_other_models(shared_data: Path) -> None:
    wanted = {
        "math_normal_s1.1": {"broken_tags": 52},
        "math_normal_Limo": {"no_reasoning": 52},
        "gsm8k_normal_Qwen32": {"no_reasoning": 582},
        "pilot_math500_qwen7b": {"unfinished": 1},
        "pilot_math500_llama8b": {},
        "qwen3_32b_lineage8": {},
    }
    for name, dropped in wanted.items():
        found = Counter(filter(None, map(reason, real.traces(shared_data, name))))
        print(f"{name}: {dict(found)}")
        assert found == dropped
    circling = real.traces(shared_data, "pilot_math500_qwen7b")[9]
    assert "58 times in a row" in str(quality.repetition(circling, None, SECTION.loop))
    assert quality.repetition(circling, SECTION.repetition, None)
    students = [name for name in ("gsm8k_normal_DSQ", "math_normal_DSQ") for name in real.traces(shared_data, name)]
    assert sum(bool(reason(one)) for one in students) < 0.01 * len(students)


def test_finals_of_a_distilled_model_with_half_tags_and_loops(shared_data: Path) -> None:
    path = shared_data / "r1_lineage_logic" / "deepseek-r1-distill-qwen-14b_8.csv"
    with path.open(encoding="utf-8", newline="") as file:
        texts = [row[8] for row in csv.reader(file)]
    traces = [real.made("", think.split(text)) for text in texts]
    tags = [at for at, one in enumerate(traces) if quality.broken_tags(one)]
    loops = [at for at, one in enumerate(traces) if quality.repetition(one, SECTION.repetition, SECTION.loop)]
    print(f"of {len(texts)}: half tags in {len(tags)}, going in circles {len(loops)}")
    assert tags == [at for at, text in enumerate(texts) if "</>" in text] and loops == [195]


def _loop(one: Trace, passage: str) -> Trace:
    return real.with_reasoning(one, f"{one.completion.reasoning}\n\n{passage * 10}")


def _answered(one: Trace, answer: str) -> Trace:
    return replace(one, completion=replace(one.completion, answer=answer))


def _longest(one: Trace) -> str:
    return max(one.completion.reasoning.split("\n\n"), key=len)


PAGE = (
    "<html>\n<head><title>503 Service Temporarily Unavailable</title></head>\n<body>\n"
    + "<center>nginx</center>\n" * 50
)
PLANTED: dict[str, tuple[str, Callable[[Trace], Trace]]] = {
    "a paragraph ten times": ("repetition", lambda one: _loop(one, _longest(one) + "\n\n")),
    "a sentence ten times at the end": ("repetition", lambda one: _loop(one, " Wait, let me check that once more.")),
    "a half tag at the beginning": (
        "broken_tags",
        lambda one: real.with_reasoning(one, " </>\n\n" + one.completion.reasoning),
    ),
    "a first line without brackets": (
        "broken_tags",
        lambda one: real.with_reasoning(one, "think\n" + one.completion.reasoning),
    ),
    "a second opening tag": (
        "broken_tags",
        lambda one: real.with_reasoning(one, f"<think>\n{one.completion.reasoning}"),
    ),
    "an error page as the answer": ("api_error", lambda one: _answered(one, PAGE)),
    "no reasoning": ("no_reasoning", lambda one: real.with_reasoning(one, "\n\n")),
    "the end of a turn": ("special_tokens", lambda one: _answered(one, one.completion.answer + "<|eot_id|>")),
    "a block of code": (
        "code",
        lambda one: real.with_reasoning(one, one.completion.reasoning + "\n\n```python\nx = 3\nprint(x)\n```"),
    ),
    "four traces in one paragraph": (
        "long_paragraph",
        lambda one: real.with_reasoning(one, " ".join(one.completion.reasoning.split() * 4)),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_in_r1s_traces_is_found(name: str, shared_data: Path) -> None:
    wanted, plant = PLANTED[name]
    traces = [one for some in real.r1(shared_data).values() for one in some if len(one.completion.reasoning) > 1200][
        ::5
    ]
    found = Counter(reason(plant(one)) for one in traces)
    print(f"{name}: {dict(found)} of {len(traces)}")
    assert len(traces) > 100 and found[wanted] >= 0.99 * len(traces)


HALF_MEGABYTES = {
    name: (piece * (500_000 // len(piece)))[:500_000]
    for name, piece in {
        "letters": "a", "words": "a ", "backticks": "`", "fences": "```\n", "lines": "\n", "spaces": " ",
        "opening": "<",
        "bars": "<|", "full bars": "<｜", "brackets": "[/", "ideographs": "中", "ideographs apart": "中 ",
        "scripts": "жa中 ",
        "thinking": "think ", "program": "x.y(\n", "loops": "for i in range(",
        "german": "und das ist nicht die lösung ",
        "zeros": "0 ", "quotes": '"', "entities": "&lt;", "surrogates": "\ud800", "backslashes": "\\", "runs": "ж,-",
    }.items()
}  # fmt: skip


@pytest.mark.parametrize("name", HALF_MEGABYTES)
def test_half_a_megabyte_of_anything_ends(name: str) -> None:
    text = HALF_MEGABYTES[name]
    one = trace(f"Hm.\n{text}")
    details = (
        quality.api_error(trace("", text)),
        quality.no_reasoning(one),
        quality.broken_tags(one),
        quality.special_tokens(one, CONTROLS),
        quality.code(one, "drop"),
        quality.long_paragraph(one, 600),
        quality.repetition(one, 0.25, 4),
        quality.mixed_language(one, 0.0002),
    )
    assert all(detail is None or len(detail.encode()) < 400 for detail in details)
