"""What each task of the gate is: its name in; source, licence, size, k and a sentence for people out. Light."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distill.records import Domain
from distill.tasknames import RG_DIFFICULTY, RG_PREFIX, SUITES, default_repeats, domain_of


@dataclass(frozen=True)
class Hub:
    """A data set on the Hugging Face Hub; `gated` says that its terms must be accepted there first."""

    path: str
    split: str
    subset: str | None = None
    gated: bool = False


@dataclass(frozen=True)
class TaskInfo:
    """One task. `size` counts its problems, `k` the samples of each where a recipe does not say it, `hub` is None where
    problems are made, and `licence` is what the makers or the Hub's card state."""

    name: str
    description: str
    hub: Hub | None
    licence: str
    size: int

    @property
    def domain(self) -> Domain:
        """math or logic."""
        return domain_of(self.name)

    @property
    def k(self) -> int:
        """Samples per problem."""
        return default_repeats(self.name)

    @property
    def gated(self) -> bool:
        """Whether its data set is given only to those who accept its terms."""
        return self.hub is not None and self.hub.gated

    @property
    def source(self) -> str:
        """Where its problems come from, for people."""
        return self.hub.path if self.hub else "reasoning-gym, made here"


_MAA = "none stated; the problems are the MAA's"
_TASKS = (
    TaskInfo(
        "distill_gsm8k",
        "School mathematics in words (Cobbe et al., 2021, arXiv 2110.14168).",
        Hub("openai/gsm8k", "test", "main"),
        "MIT",
        1319,
    ),
    TaskInfo(
        "distill_math500",
        "Competition mathematics: 500 of MATH's test problems (Lightman et al., 2023, arXiv 2305.20050).",
        Hub("HuggingFaceH4/MATH-500", "test"),
        "MIT",
        500,
    ),
    TaskInfo("distill_aime24", "AIME I and II of 2024.", Hub("HuggingFaceH4/aime_2024", "train"), _MAA, 30),
    TaskInfo("distill_aime25", "AIME I and II of 2025.", Hub("math-ai/aime25", "test"), _MAA, 30),
    TaskInfo(
        "distill_amc23",
        "AMC 12 A and B of 2023, in the form that asks for an integer.",
        Hub("math-ai/amc23", "test"),
        _MAA,
        40,
    ),
    TaskInfo(
        "distill_bbh_logic",
        "The eleven tasks of BIG-Bench Hard that are logic (Suzgun et al., 2022, arXiv 2210.09261).",
        Hub("SaylorTwift/bbh", "test"),
        "MIT",
        2750,
    ),
    TaskInfo(
        "distill_knights_knaves",
        "Who of three to seven people tells the truth (Xie et al., 2024, arXiv 2410.23123).",
        Hub("K-and-K/knights-and-knaves", "3ppl to 7ppl", "test"),
        "CC BY-NC-SA 4.0",
        500,
    ),
    TaskInfo(
        "distill_gpqa_diamond",
        "Graduate science, four options in an order fixed by their content (Rein et al., 2023, arXiv 2311.12022).",
        Hub("Idavidrein/gpqa", "train", "gpqa_diamond", gated=True),
        "CC BY 4.0",
        198,
    ),
    TaskInfo(
        "distill_mmlu_pro_logic",
        "MMLU-Pro's philosophy, law and computer science, up to ten options (Wang et al., 2024, arXiv 2406.01574).",
        Hub("TIGER-Lab/MMLU-Pro", "test"),
        "MIT",
        2010,
    ),
    TaskInfo(
        "distill_logiqa2",
        "Logic of China's civil service examination, answered in words (Liu et al., 2023, LogiQA 2.0).",
        Hub("baber/logiqa2", "test", "logiqa2"),
        "CC BY-NC-SA 4.0",
        1572,
    ),
    *(
        TaskInfo(
            RG_PREFIX + family,
            f"Fresh {family.replace('_', ' ')} of reasoning-gym, "
            + ", ".join(f"{name} {value}" for name, value in settings.items())
            + " (Stojanovski et al., 2025, arXiv 2505.24760).",
            None,
            "Apache-2.0",
            500,
        )
        for family, settings in RG_DIFFICULTY.items()
    ),
)


def info(task: str) -> TaskInfo:
    """One task of the catalogue; raises KeyError for a procedural family that is not in it."""
    return {known.name: known for known in _TASKS}[task]


def catalogue() -> list[dict[str, Any]]:
    """Every task that has a name of its own, mathematics first, as plain data: name, domain, source, licence, size, k,
    gated, suites and description. distill_rg_<family> makes problems of any other family of reasoning-gym."""
    return [
        {
            "name": task.name,
            "domain": task.domain,
            "source": task.source,
            "licence": task.licence,
            "size": task.size,
            "k": task.k,
            "gated": task.gated,
            "suites": [suite for suite, names in SUITES.items() if task.name in names],
            "description": task.description,
        }
        for task in _TASKS
    ]


def lines(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """What `catalogue` gives as lines for a terminal: a row for each task, and below it what it is."""
    said = [f"{'task':<28}{'domain':<8}{'size':>6}{'k':>5}  source"]
    for task in found:
        gated = ", gated" if task["gated"] else ""
        said.append(
            f"{task['name']:<28}{task['domain']:<8}{task['size']:>6,}{task['k']:>5}  {task['source']}{gated} "
            f"({task['licence']})"
        )
        said.append(f"    {task['description']}")
    said.append("distill_rg_<family>: fresh problems of any other family of reasoning-gym")
    return said
