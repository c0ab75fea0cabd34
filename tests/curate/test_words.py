"""Short texts: words, lists, brackets, one of two words; and every target of BIG-Bench Hard in every wrapping."""

import json
from pathlib import Path

import pytest

from distill.curate.compare import judge, quick
from distill.records import AnswerKind, Problem


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("valid", "The answer is not valid", False),
        ("invalid", "The answer is not valid", True),
        ("invalid", "The argument is **not deductively valid**.", True),
        ("valid", "The argument is deductively valid.", True),
        ("valid", "\\boxed{\\text{The argument is valid}}", True),
        ("valid", "\\boxed{\\text{not valid}}", False),
        ("invalid", "\\boxed{\\text{not valid}}", True),
        ("Yes", "Yes, you return to the starting point.", True),
        ("No", "Yes, there is no way around.", False),
        ("Yes", "Yes, there is no way around.", True),
        ("No", "No.\n\nBecause you face north.", True),
        ("Yes", "No.\n\nBecause you face north.", False),
        ("True", "The statement is True.", True),
        ("False", "The statement is not true.", True),
        ("True", "The value is \\(\\boxed{\\text{True}}\\)", True),
        ("False", "False or True?", False),
        ("True", "False or True?", False),
        ("apple banana cherry", "\\boxed{apple, banana, cherry}", True),
        ("apple banana cherry", "\\boxed{\\text{apple banana cherry}}", True),
        ("apple banana cherry", "apple\nbanana\ncherry", True),
        ("apple banana cherry", "The sorted list is: apple, banana, and cherry.", True),
        ("apple banana cherry", "1. apple\n2. banana\n3. cherry", True),
        ("apple banana cherry", "Sorted:\n- apple\n- banana\n- cherry", True),
        ("apple banana cherry", "\\boxed{apple cherry banana}", False),
        ("apple banana cherry", "\\boxed{apple banana}", False),
        ("apple banana cherry", "\\boxed{[apple, banana, cherry]}", True),
        ("apple banana cherry", "\\boxed{\\text{apple},\\ \\text{banana},\\ \\text{cherry}}", True),
        ("apple banana cherry", "\\boxed{\\text{apple}, \\text{banana}, \\text{cherry}}", True),
        ("apple banana cherry", '["apple", "banana", "cherry"]', True),
        ("] ] >", "] ] >", True),
        ("] ] >", "The answer is ] ] >.", True),
        ("] ] >", "\\boxed{] ] >}", True),
        ("] ] >", "\\boxed{\\texttt{] ] >}}", True),
        ("} ]", "\\boxed{} ]}", True),
        ("} ]", "\\boxed{\\} ]}", True),
        ("} ]", "\\boxed{\\text{\\} ]}}", True),
        ("} ]", "\\boxed{\\} \\,]}", True),
        ("} ]", "\\boxed{\\}\\}]}", False),
        (") >", "$\\boxed{)\\ >}$", True),
        (") >", "\\boxed{)\\rangle}", True),
        ("6", "\\boxed{6}", True),
        ("6", "The answer is 6.", True),
        ("6", "\\boxed{6.0}", True),
        ("6", "\\boxed{16}", False),
        ("-123", "The answer is -123", True),
        ("syndrome therefrom", "**syndrome therefrom**", True),
        ("Paris", "The capital is \\boxed{\\text{Paris}}.", True),
        ("Paris", "`Paris`", True),
        ("Paris", "\\boxed{\\text{London}}", False),
        ("Yes", "\\boxed{Yes} or \\boxed{No}", False),
        ("No", "\\boxed{Yes} or \\boxed{No}", False),
        ("Yes", "\\boxed{\\text{Yes or No}}", False),
        ("valid", "valid or invalid? I cannot say.", False),
        ("True", "\\boxed{\\mathrm{True}}", True),
        ("True", "**Final Answer: True**", True),
        ("Yes", "The person tells the truth. Answer: Yes", True),
        ("No", "The person does not tell the truth. So the answer is **No**.", True),
        ("it&t a", "\\boxed{\\text{it\\&t a}}", True),
        ("New York", 'The answer is "New York".', True),
        ("New York", "\\boxed{New\\ York}", True),
        ("New York", "\\boxed{\\text{New~York}}", True),
        ("Yes", "<think>Yes</think> No", False),
        ("Yes", "<think>Yes", False),
        ("café", "\\boxed{\\text{Café}}", True),
    ],
)
def test_text(gold: str, answer: str, expected: bool) -> None:
    judgement = quick(Problem.of("?", gold, "text", "test"), answer)
    assert judgement is not None and judgement.right is expected


WRAPPINGS = (
    "{}",
    "\\boxed{{{}}}",
    "So we get:\n\\[\n\\boxed{{\\text{{{}}}}}\n\\]",
    "Let's think.\nSo the answer is {}.",
    "**{}**",
    "It follows.\n\n**Answer:** {}",
)


def kinds(task: str, targets: list[str]) -> list[AnswerKind]:
    if all(len(target) == 3 and target[0] + target[2] == "()" for target in targets) and task != "dyck_languages":
        return ["choice"]
    return ["math", "text"] if all(target.lstrip("-").isdecimal() for target in targets) else ["text"]


def test_every_target_of_bbh_in_every_wrapping(shared_data: Path) -> None:
    asked, wrong = 0, []
    for path in sorted((shared_data / "bbh").glob("*.json")):
        examples = json.loads(path.read_text(encoding="utf-8"))["examples"]
        targets = sorted({example["target"] for example in examples})
        for at, example in enumerate(examples):
            target = example["target"]
            other = targets[(targets.index(target) + 1 + at % (len(targets) - 1)) % len(targets)]
            for kind in kinds(path.stem, targets):
                problem = Problem.of(example["input"], target, kind, path.stem)
                for wrapping in WRAPPINGS if kind != "math" or at < 40 else WRAPPINGS[1:3]:
                    asked += 2
                    told = judge(problem, wrapping.format(target)).right, judge(problem, wrapping.format(other)).right
                    if told != (True, False):
                        wrong.append((path.stem, kind, wrapping, target, other, told))
    print(f"BIG-Bench Hard: {asked - len(wrong):,} of {asked:,} judged as they should be")
    assert asked > 40_000 and not wrong, wrong[:5]
