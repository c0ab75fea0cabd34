"""The gate's task names, the domain that each counts for, mathematics or logic, its k, and the suites.

The procedural families of reasoning-gym stand here by the library's own categories, so that a recipe can be checked
without loading it; a test holds the lists against the library.
"""

from distill.records import Domain

RG_LOGIC = frozenset(
    """
    aiw circuit_logic knights_knaves propositional_logic self_reference syllogism zebra_puzzles
    """.split()
)
RG_MATH = frozenset(
    """
    basic_arithmetic bitwise_arithmetic calendar_arithmetic chain_sum count_bits decimal_arithmetic
    decimal_chain_sum dice fraction_simplification gcd gsm_symbolic lcm leg_counting number_format
    power_function prime_factorization products time_intervals complex_arithmetic
    intermediate_integration polynomial_equations polynomial_multiplication simple_equations
    simple_integration advanced_geometry simple_geometry
    """.split()
)
RG_PREFIX = "distill_rg_"
TASK_DOMAINS: dict[str, Domain] = {
    "distill_gsm8k": "math",
    "distill_math500": "math",
    "distill_aime24": "math",
    "distill_aime25": "math",
    "distill_amc23": "math",
    "distill_bbh_logic": "logic",
    "distill_knights_knaves": "logic",
    "distill_gpqa_diamond": "logic",
    "distill_mmlu_pro_logic": "logic",
    "distill_logiqa2": "logic",
}
RG_DIFFICULTY: dict[str, dict[str, int]] = {
    "zebra_puzzles": {"num_people": 4, "num_characteristics": 4},
    "knights_knaves": {"n_people": 5, "depth_constraint": 2, "width_constraint": 3},
}
"""The suite's procedural families, at a stated difficulty; a recipe's `config` changes single settings. They are the
library's puzzles of logic that cannot be guessed: of five people 2^5 may be knights, of four houses each may be asked
for. propositional_logic is left out, since its scorer takes a premise said again for a conclusion; circuit_logic and
syllogism, since they are answered by one of two words."""

SUITES: dict[str, tuple[str, ...]] = {
    "math": ("distill_gsm8k", "distill_math500", "distill_aime24", "distill_aime25", "distill_amc23"),
    "logic": (
        *("distill_bbh_logic", "distill_knights_knaves", "distill_gpqa_diamond", "distill_mmlu_pro_logic"),
        *("distill_logiqa2", *(RG_PREFIX + family for family in RG_DIFFICULTY)),
    ),
    "r1": ("distill_aime24", "distill_math500", "distill_gpqa_diamond", "distill_bbh_logic"),
}
"""Names for several tasks at once. r1: what R1's distilled models were measured on (arXiv 2501.12948, table 5), but for
code, and a task of logic."""

_REPEATS = {
    "distill_aime24": 64,
    "distill_aime25": 64,
    "distill_amc23": 64,
    "distill_gpqa_diamond": 64,
    "distill_math500": 16,
    "distill_mmlu_pro_logic": 1,
}
"""k as R1 was measured: 64 for AIME 2024 and GPQA diamond, 16 for MATH-500 (arXiv 2501.12948v2, the appendix on the
evaluation), and one answer each for MMLU-Pro (table 4: EM). AIME 2025 and AMC 2023, which R1 was not measured on, are
as small as AIME 2024. All others have the least of "4 to 64, depending on the size of the test set" (v1, section 3)."""


def default_repeats(task: str) -> int:
    """k, the samples per problem, where a recipe does not say it."""
    return _REPEATS.get(task, 4)


def domain_of(task: str) -> Domain:
    """Which of the gate's two domains a task counts for."""
    if task in TASK_DOMAINS:
        return TASK_DOMAINS[task]
    family = task.removeprefix(RG_PREFIX)
    return "logic" if family in RG_LOGIC else "math" if family in RG_MATH else "other"
