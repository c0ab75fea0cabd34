"""What a release tells of itself, in one record: the recipe, the sealed stages, and the gate's reports.

Everything that is written beside the weights (cards, `model-index`, `.eval_results`, licence) is worked out from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.recipe import Recipe
from distill.records import GateReport


@dataclass(frozen=True)
class Story:
    """`manifests` are those of the sealed stages by name (problems, sample, curate, train, gate)."""

    recipe: Recipe
    manifests: Mapping[str, Mapping[str, Any]]
    reports: Sequence[GateReport]

    @property
    def name(self) -> str:
        """The recipe's."""
        return self.recipe.name
