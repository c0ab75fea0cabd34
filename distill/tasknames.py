"""The gate's task names and the domain that each counts for: mathematics or logic.

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
SUITES: dict[str, tuple[str, ...]] = {
    "math": ("distill_gsm8k", "distill_math500", "distill_aime24", "distill_aime25", "distill_amc23"),
    "logic": (
        *("distill_bbh_logic", "distill_knights_knaves", "distill_gpqa_diamond", "distill_mmlu_pro_logic"),
        *("distill_logiqa2", "distill_rg_zebra_puzzles", "distill_rg_propositional_logic"),
    ),
    "r1": ("distill_aime24", "distill_math500", "distill_gpqa_diamond", "distill_bbh_logic"),
}
"""Names for several tasks at once. r1: what R1's distilled models were measured on (arXiv 2501.12948, table 5), but for
code, and a task of logic."""

_REPEATS = {"distill_aime24": 64, "distill_aime25": 64, "distill_gpqa_diamond": 64, "distill_math500": 16}
"""As R1 was measured (arXiv 2501.12948v2, appendix); the others have 4 unless stated here."""


def default_repeats(task: str) -> int:
    """k, where a recipe does not say it."""
    return _REPEATS.get(task, 4)


def domain_of(task: str) -> Domain:
    """Which of the gate's two domains a task counts for."""
    if task in TASK_DOMAINS:
        return TASK_DOMAINS[task]
    family = task.removeprefix(RG_PREFIX)
    return "logic" if family in RG_LOGIC else "math" if family in RG_MATH else "other"
