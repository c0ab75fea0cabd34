"""Knights and knaves: every way to tell who is what, and what tells too little or wrongly."""

import json
from pathlib import Path

import pytest

from distill.curate.compare import quick
from distill.records import Problem

SOLUTION = {"Zoey": False, "Ethan": True, "Ann": True}


def right(answer: str, solution: dict[str, bool]) -> bool | None:
    judgement = quick(Problem.of("?", "", "rule", "test", rule="knights_knaves", solution=solution), answer)
    assert judgement is not None
    return judgement.right


@pytest.mark.parametrize(
    "answer",
    [
        "Knights: Ethan, Ann; Knaves: Zoey",
        "Knights: Ethan, Ann\nKnaves: Zoey",
        "Ethan and Ann are knights, Zoey is a knave",
        "Ethan and Ann are both knights, while Zoey is a knave.",
        "\\boxed{\\text{Knights: Ethan, Ann; Knave: Zoey}}",
        "\\boxed{\\text{Knights} = \\{\\text{Ethan}, \\text{Ann}\\}, \\text{Knaves} = \\{\\text{Zoey}\\}}",
        "**Knights:** Ethan and Ann\n**Knaves:** Zoey",
        "### Knights\n- Ethan\n- Ann\n\n### Knaves\n- Zoey",
        "| Person | Role |\n|---|---|\n| Zoey | Knave |\n| Ethan | Knight |\n| Ann | Knight |",
        "| Knights | Knaves |\n|---|---|\n| Ethan, Ann | Zoey |",
        "Only Zoey is a knave; the others are knights.",
        "Zoey is the only knave. Everyone else is a knight.",
        "\\boxed{\\begin{array}{ll}\\text{Zoey} & \\text{knave}\\\\ \\text{Ethan} & \\text{knight}\\\\ "
        "\\text{Ann} & \\text{knight}\\end{array}}",
        "\\boxed{\\text{(1) Zoey is a knave (2) Ethan is a knight (3) Ann is a knight}}",
        "- **Zoey** is a **knave**\n- **Ethan** is a **knight**\n- **Ann** is a **knight**",
        "Zoey → knave, Ethan → knight, Ann → knight",
        "Zoey (knave), Ethan (knight), Ann (knight)",
        "\\boxed{Zoey \\rightarrow knave, Ethan \\to knight, Ann \\Rightarrow knight}",
        "\\boxed{Zoey: \\text{Knave}; Ethan: \\text{Knight}; Ann: \\text{Knight}}",
        "Zoey must be a knave. Therefore Ethan is a knight and Ann is a knight. If Ann is a knave, that is absurd.",
        "The knights are Ethan and Ann, and the knave is Zoey.",
        "Zoey says Ethan is a knave, but Zoey is a knave, so Ethan is a knight. Ann is a knight.",
        "Zoey cannot be a knight. Ethan isn't a knave. Ann is not a knave.",
        "Zoey is therefore a knave, Ethan is therefore a knight, and Ann is also a knight",
        "<answer> (1) Zoey is a knave\n(2) Ethan is a knight\n(3) Ann is a knight </answer>",
        "ZOEY IS A KNAVE, ETHAN IS A KNIGHT, ANN IS A KNIGHT",
        "Zoey - Knave\nEthan - Knight\nAnn - Knight",
        "Zoey: **Knave** (liar)\nEthan: **Knight** (truth-teller)\nAnn: **Knight**",
        "Zoey is a Knave, and both Ethan and Ann are Knights.",
        "\\boxed{\\text{Zoey is a knave, and Ethan and Ann are knights}}",
        "Assume Zoey is a knight. Then contradiction. So Zoey is a knave; Ethan is a knight, Ann is a knight.",
        "Knights: Ethan, Ann. Knaves: Zoey.",
        "Knaves: Zoey\n\nKnights: Ann & Ethan",
        "Zoey=knave, Ethan=knight, Ann=knight",
        "Zoey\\text{ is a knave}, Ethan\\text{ is a knight}, Ann \\text{ is a knight}",
        "Ethan's claim that Zoey is a knight would be false... Zoey is a knave. Ethan is a knight. Ann is a knight.",
    ],
)
def test_told_rightly(answer: str) -> None:
    assert right(answer, SOLUTION) is True


@pytest.mark.parametrize(
    "answer",
    [
        "Only Zoey is a knave",
        "Zoey is a knave",
        "Knights: Zoey, Ann; Knaves: Ethan",
        "Ethan and Zoey are knights, Ann is a knave",
        "Everyone is a knight",
        "Zoey is a knave, Ethan is a knight, Ann is a knave",
        "Zoey is a knave, Ethan is a knight, Ann might be anything",
        "If Zoey is a knave, then Ethan is a knight and Ann is a knight",
        "Knights: Ethan, Ann, Zoey",
        "Knights: Ethan\nKnaves: Zoey, Ann",
        "",
        "No idea",
        "Zoey or Ethan is a knave; Ann is a knight",
    ],
)
def test_told_wrongly_or_not_at_all(answer: str) -> None:
    assert right(answer, SOLUTION) is False


def listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def written(solution: dict[str, bool]) -> list[str]:
    """A solution as models write it."""
    knights = [name for name, knight in solution.items() if knight]
    knaves = [name for name, knight in solution.items() if not knight]
    kinds = {name: "knight" if knight else "knave" for name, knight in solution.items()}
    ways = [
        ", ".join(f"{name} is a {kind}" for name, kind in kinds.items()),
        "\n".join(f"- **{name}**: {kind.title()}" for name, kind in kinds.items()),
        "| Name | Kind |\n|---|---|\n" + "\n".join(f"| {name} | {kind} |" for name, kind in kinds.items()),
        "\\boxed{" + ", ".join(f"\\text{{{name}}} = \\text{{{kind}}}" for name, kind in kinds.items()) + "}",
    ]
    if knights and knaves:
        ways.append(f"Knights: {', '.join(knights)}\nKnaves: {', '.join(knaves)}")
        ways.append(f"{listed(knights)} are knights, and {listed(knaves)} are knaves.")
        ways.append("**Knaves**\n* " + "\n* ".join(knaves) + "\n\n**Knights**\n* " + "\n* ".join(knights))
    return ways


def test_all_puzzles(shared_data: Path) -> None:
    asked = 0
    for path in sorted((shared_data / "knights_knaves").glob("*_test.jsonl")):
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            solution = dict(zip(row["names"], row["solution"], strict=True))
            thought = " ".join([row["cot_head"], *row["cot_repeat_steps"], row["cot_foot"]])
            own = [
                row["solution_text"],
                f"{thought}\n{row['solution_text_format']}",
                f"{row['quiz']}\n{row['solution_text']}",
            ]
            for answer in [*own, *written(solution)]:
                asked += 1
                assert right(answer, solution) is True, answer
            first = row["names"][0]
            for answer in written({**solution, first: not solution[first]}):
                asked += 1
                assert right(answer, solution) is False, answer
    print(f"knights and knaves: {asked:,} judged as they should be")
    assert asked > 5_000
