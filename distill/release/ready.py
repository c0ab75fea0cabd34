"""Whether there may be a release: what the gate said, and what the recipe asks for, without asking the Hub."""

from collections.abc import Iterable, Sequence

from distill.errors import GateClosed, InputError
from distill.gate_sections import ReleaseSection
from distill.recipe import Recipe
from distill.records import GateReport
from distill.release.licences import settle_recipe


def refuse_closed(reports: Sequence[GateReport], variants: Iterable[str]) -> None:
    """Raises GateClosed where a variant's report did not pass, or there is none. Nothing opens it but a waiver, which
    is in the report."""
    passed = {report.variant: report.passed for report in reports}
    closed = [variant for variant in variants if not passed.get(variant, False)]
    if closed:
        raise GateClosed(f"nothing was released: the gate did not pass for {', '.join(closed)}")


def check(recipe: Recipe) -> None:
    """Raises InputError for a licence that forbids the release, and, where it goes to the Hub, for a name that the Hub
    does not take, a network that is switched off, or no token."""
    settle_recipe(recipe)
    if recipe.release.to != "hub":
        return
    from huggingface_hub import get_token, is_offline_mode

    from distill.release.calls import LOG_IN

    _names(recipe.release)
    if is_offline_mode():
        raise InputError("release.to: hub needs the network; unset HF_HUB_OFFLINE, or write to: folder")
    if get_token() is None:
        raise InputError(f"release.to: hub needs a token; {LOG_IN}, or write to: folder")


def _names(section: ReleaseSection) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, re-exported implicitly

    from distill.release.layout import places

    for place in places(section):
        try:
            validate_repo_id(place.repo)
        except HFValidationError as error:
            raise InputError(
                f"release.repo: the Hub takes no repository {place.repo}: {error} Write another ORG/NAME"
            ) from error
    tag = section.tag
    if tag is not None and (tag == "main" or ".." in tag or tag.endswith((".", ".lock")) or len(tag) > 100):
        raise InputError(f"release.tag: {tag!r} cannot be a tag; write one such as v1, or leave it out")
