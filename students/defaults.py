"""Settings that follow from the student's size: takes a parameter count, gives a first learning rate.

Source: DeepSeek-R1 (arXiv 2501.12948v2, appendix B.4.3, the table of distilled students).
"""

import math

FULL: dict[str, dict[float, float]] = {
    "llama": {8.0e9: 5e-5, 70.6e9: 2e-5},
    "other": {1.54e9: 1e-4, 7.6e9: 8e-5, 14.8e9: 7e-5, 32.8e9: 6e-5},
}
"""Family -> {parameters of the student: its first learning rate, all weights trained}."""

ADAPTER_FACTOR = 10.0
"""An adapter takes about ten times the rate of full training (Schulman et al., "LoRA Without Regret", 2025)."""


def learning_rate(n_parameters: int, lora: bool, model_type: str = "") -> float:
    """The first learning rate of the nearest of DeepSeek's students, by the logarithm of the size.

    `model_type` is the config's; "llama" has rows of its own. Ten times the rate for an adapter.
    """
    rows = FULL["llama" if model_type.startswith("llama") else "other"]
    nearest = min(rows, key=lambda size: abs(math.log(size) - math.log(max(n_parameters, 1))))
    return rows[nearest] * (ADAPTER_FACTOR if lora else 1.0)
