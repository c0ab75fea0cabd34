"""Real traces from the data folder beside the checkout, as the tests and benches of the filters take them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill import think
from distill.records import Completion, Finish, Problem, Sampling, Trace

R1 = ("gsm8k_normal_deepseekR1", "math_normal_deepseekR1", "r1_0528_lineage8", "r1_0528_lineage64")
"""Files of what R1 itself said; all but a few answers in them are right."""


def made(prompt: str, thought: think.Thought, finish: Finish = "stop") -> Trace:
    completion = Completion(thought.reasoning, thought.answer, finish, None, None, "model", thought.clean)
    problem = Problem.of(prompt, "4", "math", "test")
    return Trace(f"{problem.id}#0", problem, completion, "model", 0, Sampling(), None, "", 0.0)


def with_reasoning(one: Trace, reasoning: str) -> Trace:
    return replace(one, completion=replace(one.completion, reasoning=reasoning))


def r1(data: Path) -> dict[str, list[Trace]]:
    """R1's traces by file, without the row that holds an API error."""
    return {name: [one for one in traces(data, name) if one.completion.reasoning] for name in R1}


def traces(data: Path, name: str) -> list[Trace]:
    """The traces of one file, named as it is without what follows its name."""
    return [made(prompt, thought) for prompt, thought in _read(data, name)]


def _read(data: Path, name: str) -> Iterator[tuple[str, think.Thought]]:
    if name.startswith(("gsm8k", "math_")):
        for row in json.loads((data / "r1_mip_gsm8k_math" / f"{name}.json").read_text(encoding="utf-8")):
            said = next(row[key] for key in _SAID if row.get(key))
            yield row.get("question") or "", think.split(said)
    elif "lineage" in name:
        for pair in _lines(data / "r1_lineage_logic" / f"{name}_api_pairs.jsonl"):
            message = pair["response"]["choices"][0]["message"]
            yield pair["request"]["messages"][-1]["content"], think.read_message(message)
    else:
        opened = name.endswith(("qwen7b", "llama8b"))
        for row in _lines(data / "r1_math500_traces" / f"{name}.jsonl"):
            yield row["problem"], think.split(row["full_response"], opened=opened)


_SAID = ("deepseek-reasoner (question)", "deepseek-reasoner (insufficient_question)", "model_answer")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
