"""What every stage of the journey is given: the recipe, the run's folder, and whom to tell."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distill.recipe import Recipe
from distill.run import Run

Say = Callable[[str], None]
Facts = dict[str, Any]


@dataclass(frozen=True)
class Road:
    """One recipe on its way in one run."""

    recipe: Recipe
    run: Run
    say: Say
    adopt: bool = False

    def verifier(self) -> Any:
        """A pool of verifying processes, to be used as a context."""
        from distill.curate.verify import VerifierPool

        section = self.recipe.curate
        return VerifierPool(timeout_s=section.verify_timeout_s, memory_mb=section.verify_memory_mb)
