"""The licence of a release, worked out from its teacher, base and data: a story or a recipe in, the licence with the
duties that follow out, or an InputError where there can be none.

The rules. The weights are the base's, changed: its licence holds for them. What the student learnt from adds to that
only what its terms say of models trained on it (`Terms.outputs`): nothing for MIT and Apache, a name for Llama, the
same terms for Gemma, non-commercial and share-alike ones. What forbids it, or cannot be kept together, is refused. This
is a careful reading by people who are no lawyers, and the card says so.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from distill import __version__
from distill.errors import InputError
from distill.recipe import BUNDLED, Recipe
from distill.records import printable
from distill.release.parts import Part, beside, of_recipe, place
from distill.release.story import Story
from distill.release.terms import Terms

LEARNT_FROM = ("teacher", "data")
_MIT = (
    "MIT License\n\n{}\n\n"
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated "
    'documentation files (the "Software"), to deal in the Software without restriction, including without limitation '
    "the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and "
    "to permit persons to whom the Software is furnished to do so, subject to the following conditions:\n\n"
    "The above copyright notice and this permission notice shall be included in all copies or substantial portions of "
    "the Software.\n\n"
    'THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO '
    "THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE "
    "AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF "
    "CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS "
    "IN THE SOFTWARE.\n"
)


@dataclass(frozen=True)
class Licence:
    """A release's licence. `id` is the Hub's identifier (`other` where it has none, `unknown` where something is not
    known), `name` the licence's own, `link` where it stands. `obligations` are sentences; `display` what has to be
    shown; `notices` files to lay beside the weights, by name; `because` one sentence for each part that it follows
    from; `warnings` what a person should look into."""

    id: str
    name: str
    link: str
    obligations: tuple[str, ...]
    notices: dict[str, str]
    because: tuple[str, ...]
    display: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    slug: str = ""

    @property
    def front_matter(self) -> dict[str, str]:
        """The keys of a card that state it."""
        if self.id != "other":
            return {"license": self.id}
        return {"license": "other", "license_name": self.slug, "license_link": "LICENSE"}


def settle(story: Story) -> Licence:
    """The licence of the weights; raises InputError where the terms forbid a release, cannot be kept together, ask for
    another name, or, for a release to the Hub, are not known. Reads no network."""
    return settle_recipe(story.recipe, story.served)


def settle_recipe(recipe: Recipe, served: Sequence[str] = ()) -> Licence:
    """The same before any work: from the recipe, and the names that answered for the teacher, as far as they are
    known."""
    parts = of_recipe(recipe, served)
    _refuse_forbidden(parts)
    unknown = [part for part in parts if not part.terms and part.role != "judge"]
    if unknown and recipe.release.to == "hub":
        raise InputError(_ask(unknown[0]))
    begins = _begins(parts)
    if recipe.release.to == "hub" and recipe.release.repo is not None:
        _check_name(recipe.release.repo, begins)
    result = _combined(parts) if not unknown else None
    warnings = tuple(_warning(part) for part in unknown)
    if begins and recipe.release.to == "folder" and not all(_begins_with(recipe.name, start) for start in begins):
        warnings += (f'Before you pass it on: its name must begin with "{max(begins)}".',)
    notices, missing = _notices(recipe, parts, result)
    return _licence(parts, result, notices, warnings + missing)


def settle_traces(story: Story) -> Licence:
    """The licence of the kept traces as a data set: their questions are the data's, their answers the teacher's."""
    parts = [part for part in of_recipe(story.recipe, story.served) if part.role in LEARNT_FROM]
    _refuse_forbidden([part for part in parts if part.role == "data"])
    known = all(part.terms for part in parts)
    own = [terms for part in sorted(parts, key=lambda part: part.role) for terms in part.terms if terms.hub]
    result = _joined([*_binding(parts), *own[:1]]) if known else None
    return _licence(parts, result, {}, tuple(_warning(part) for part in parts if not part.terms))


def _licence(
    parts: Sequence[Part], result: Terms | None, notices: dict[str, str], warnings: tuple[str, ...]
) -> Licence:
    return Licence(
        id="unknown" if result is None else result.id if result.hub else "other",
        name="not known" if result is None else result.name,
        link="" if result is None else result.link,
        obligations=tuple(dict.fromkeys(sentence for part in parts for sentence in _duties(part))),
        notices=notices,
        because=tuple(_because(part) for part in parts),
        display=tuple(dict.fromkeys(terms.display for terms in _shown(parts) if terms.display)),
        warnings=warnings,
        slug="" if result is None else result.id,
    )


def _refuse_forbidden(parts: Sequence[Part]) -> None:
    """Raises InputError where a student may not learn from a part, or a judge may not have a say in it."""
    family = {terms.id for part in parts if part.role == "base" for terms in part.terms}
    for part in parts:
        if part.role == "base":
            continue
        for terms in part.terms:
            if terms.outputs == "forbidden" or (terms.outputs == "family" and terms.id not in family):
                instead = (
                    "other data" if part.role == "data" else f"another {part.role}, such as deepseek-ai/DeepSeek-R1"
                )
                raise InputError(
                    f"{_plain(part.name)} ({part.role}) is under {terms.name}: {terms.learnt[0]}; what learnt from it "
                    f"may not be released. Write {instead}"
                )
    for part in parts:
        if part.role == "base" and (barred := [terms for terms in part.terms if terms.outputs == "forbidden"]):
            raise InputError(
                f"{_plain(part.name)} (base) is under {barred[0].name}: {barred[0].learnt[0]}. Write another base"
            )


def _ask(part: Part) -> str:
    what = {"data": "the data", "base": "the base", "teacher": "the teacher"}[part.role]
    own = ", or own where all rights in it are yours" if part.role == "data" else ""
    return (
        f"the licence of {what} {_plain(part.name)!r} is not known, and a release to the Hub has to state what follows "
        f"from it; look it up and write release: {{licences: {{{part.role}: LICENCE}}}}, such as apache-2.0{own}"
    )


def _warning(part: Part) -> str:
    return (
        f"The licence of {_told(part)} ({part.role}) is not known. Look it up before you pass the model on, and "
        f"write release.licences.{part.role}."
    )


def _begins(parts: Iterable[Part]) -> set[str]:
    """How the model's name has to begin."""
    return {
        terms.begins
        for part in parts
        for terms in part.terms
        if terms.begins and (part.role == "base" or (part.role == "teacher" and terms.outputs == "asks"))
    }


def _begins_with(name: str, start: str) -> bool:
    """Whether a name begins so; a space may be a hyphen, an underscore, or left out."""
    return re.match(re.escape(start).replace(r"\ ", r"[ _.-]?"), name) is not None


def _check_name(repo: str, begins: set[str]) -> None:
    organisation, _, name = repo.partition("/")
    for start in sorted(begins):
        if not _begins_with(name, start):
            wanted = start.replace(" ", "-")
            raise InputError(
                f'release.repo: the name of a model made with {start} must begin with "{start}" (Llama Community '
                f"License, section 1.b.i), and {name} does not; write repo: {organisation}/{wanted}-{name}"
            )


def _binding(parts: Iterable[Part]) -> list[Terms]:
    """The terms that hold for what learnt from these parts."""
    return [terms for part in parts if part.role in LEARNT_FROM for terms in part.terms if terms.outputs == "binds"]


def _combined(parts: Sequence[Part]) -> Terms | None:
    base = [terms for part in parts if part.role == "base" for terms in part.terms]
    return _joined([*(terms for terms in base if not terms.permissive), *_binding(parts), *base])


def _joined(wanted: Sequence[Terms]) -> Terms | None:
    """One licence under which all of these are kept; the first of them where all are permissive.

    Raises InputError where a share-alike licence meets terms that it does not allow to be added.
    """
    strict = {terms.id: terms for terms in wanted if not terms.permissive}
    if len(strict) <= 1:
        return next(iter([*strict.values(), *wanted]), None)
    creative = all(id_.startswith("cc-by-") for id_ in strict)
    sharing = [terms for terms in strict.values() if terms.share_alike]
    if sharing:
        if len(sharing) > 1 or not creative or sharing[0].commercial:
            raise InputError(
                f"{' and '.join(strict)} cannot be kept together: {sharing[0].name} wants the whole under itself alone "
                "(section 3(b)); take data or a base under other terms"
            )
        return sharing[0]
    if creative:
        return strict[max(strict)]
    names = " and ".join(terms.name for terms in strict.values())
    return Terms("-and-".join(sorted(strict)), names, "", copy=True, hub=False)


def _shown(parts: Iterable[Part]) -> list[Terms]:
    """The terms whose `display` applies."""
    return [terms for part in parts if part.role != "judge" for terms in part.terms]


def _duties(part: Part) -> tuple[str, ...]:
    if part.role == "judge":
        return ()
    sentences = [
        sentence for terms in part.terms for sentence in (terms.duties if part.role == "base" else _learnt(terms))
    ]
    return tuple(f"{sentence} [{part.role}: {_told(part)}]" for sentence in sentences)


def _learnt(terms: Terms) -> tuple[str, ...]:
    return terms.learnt if terms.outputs in ("asks", "binds") else ()


def _because(part: Part) -> str:
    under = " and ".join(terms.name for terms in part.terms) or "a licence that is not known"
    return f"{part.role} {_told(part)}: {under} ({part.why})"


def _notices(recipe: Recipe, parts: Sequence[Part], result: Terms | None) -> tuple[dict[str, str], tuple[str, ...]]:
    """LICENSE, further licences, and NOTICE; and a sentence for each text that is not at hand."""
    base = next(part for part in parts if part.role == "base")
    files, missing = {}, []
    along = {terms.id: terms for terms in (*base.terms, *_binding(parts)) if terms.copy}
    if result is not None:
        text = _text(result, base)
        files["LICENSE"] = text or f"{_title(recipe)} is under: {result.name}\n{result.link}\n"
        if text is not None:
            along.pop(result.id, None)
    for terms in along.values():
        text = _text(terms, base)
        if text is None:
            missing.append(f"Lay a copy of the {terms.name} ({terms.link}) beside the weights: it was not at hand.")
        else:
            files[f"LICENSE-{terms.id}"] = text
    teachers = ", ".join(_told(part) for part in parts if part.role == "teacher")
    lines = [
        _title(recipe),
        f"Made by distill {__version__} from {_told(base)} "
        f"({' and '.join(terms.name for terms in base.terms) or 'licence not known'}), whose weights were changed by "
        f"training{' on traces of ' + teachers if teachers else ''}.",
        *dict.fromkeys(terms.notice for terms in (*base.terms, *_binding(parts)) if terms.notice),
        *dict.fromkeys(terms.display for terms in _shown(parts) if terms.display),
    ]
    own = beside(base.name, "NOTICE", "NOTICE.txt", "Notice.txt")
    files["NOTICE"] = "\n\n".join([*lines, *([f"The base's own notice:\n\n{own.strip()}"] if own else [])]) + "\n"
    return files, tuple(missing)


def _title(recipe: Recipe) -> str:
    return recipe.release.repo or recipe.name


def _text(terms: Terms, base: Part) -> str | None:
    """A licence in full: the base's own copy, or the package's."""
    if any(terms.id == other.id for other in base.terms) and not base.name.startswith(BUNDLED):
        own = beside(base.name, "LICENSE", "LICENSE.txt", "LICENSE.md", "license.txt")
        if own is not None and len(base.terms) == 1:
            return own
    if terms.id == "mit":
        holder = "2023 DeepSeek" if base.name.startswith("deepseek-ai/") else f"the makers of {_told(base)}"
        return _MIT.format(f"Copyright (c) {holder}")
    return terms.text


def _told(part: Part) -> str:
    """A part's name as a release tells it, which names no path of this machine."""
    return _plain(place(part.name))


def _plain(name: str) -> str:
    """A name from elsewhere on one line."""
    return " ".join(printable(name).split())[:200]
