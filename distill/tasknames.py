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
    "distill_bbh_logic": "logic",
    "distill_knights_knaves": "logic",
}


def domain_of(task: str) -> Domain:
    """Which of the gate's two domains a task counts for."""
    if task in TASK_DOMAINS:
        return TASK_DOMAINS[task]
    family = task.removeprefix(RG_PREFIX)
    return "logic" if family in RG_LOGIC else "math" if family in RG_MATH else "other"
