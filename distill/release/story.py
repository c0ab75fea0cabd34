"""What a release tells of itself, in one record: the recipe, the sealed stages, and the gate's reports.

Everything that is written beside the weights (cards, `model-index`, `.eval_results`, licence) is worked out from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.recipe import Recipe
from distill.records import GateReport, Score


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

    @property
    def served(self) -> tuple[str, ...]:
        """The names under which the teacher's answers came; none before it was asked."""
        return tuple(str(name) for name in self.manifests.get("sample", {}).get("served_models", ()))

    @property
    def main(self) -> str:
        """The variant that stands first: the recipe's first."""
        return self.recipe.release.variants[0]

    def report(self, variant: str | None = None) -> GateReport:
        """The gate's report on a variant, by default on the main one; raises KeyError where there is none."""
        wanted = variant or self.main
        for report in self.reports:
            if report.variant == wanted:
                return report
        raise KeyError(f"the gate has no report on {wanted}")

    @property
    def baselines(self) -> dict[str, Sequence[Score]]:
        """What was measured beside the student, without its own variants, as the main variant's report has it."""
        variants = {report.variant for report in self.reports}
        return {name: scores for name, scores in self.report().baselines.items() if name not in {*variants, "bf16"}}
