"""How a release is loaded and asked: a story in, the card's section on its use out."""

import re

from distill.records import DIRECTIVE
from distill.release.markdown import line, name, table
from distill.release.story import Story

QUANTIZED = ("int8", "nf4")


def use(story: Story, repo: str | None, variant: str | None, revision: str | None) -> str:
    """Code that loads each variant (from a folder, a repository's root, its folders, or a repository of its own), with
    the sampling and the directive that it was measured with."""
    sampling = story.recipe.gate.sampling
    told = (
        f"Sample at temperature {sampling.temperature:g} and top-p {sampling.top_p:g}, as it was measured; put no "
        "system prompt; and end the question with the directive that it was trained and measured with: "
        f"`{DIRECTIVE}`"
    )
    code = "\n".join(_code(story, repo, variant, revision))
    loaded = {variant} if variant else set(story.recipe.release.variants)
    needs = "The quantized weights need the package bitsandbytes." if loaded & set(QUANTIZED) else ""
    return "\n\n".join(filter(None, (told, f"```python\n{code}\n```", _elsewhere(story, repo, variant), needs)))


def quoted(text: str) -> str:
    """A name inside a quoted string of a program: what could end the string is left out."""
    return re.sub(r"[^\w./-]", "", line(text))


def _code(story: Story, repo: str | None, variant: str | None, revision: str | None) -> list[str]:
    sampling = story.recipe.gate.sampling
    settings = [f"do_sample={sampling.temperature > 0}"]
    if sampling.temperature > 0:
        settings += [f"temperature={sampling.temperature:g}", f"top_p={sampling.top_p:g}"]
    settings.append(f"max_new_tokens={sampling.max_tokens}")
    return [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        *_where(story, repo, variant, revision),
        "tokenizer = AutoTokenizer.from_pretrained(**where)",
        'model = AutoModelForCausalLM.from_pretrained(**where, device_map="auto")',
        'question = "What is 7 * 8?"',
        f'turn = {{"role": "user", "content": question + "\\n" + r"{DIRECTIVE}"}}',
        "prompt = tokenizer.apply_chat_template(",
        '    [turn], add_generation_prompt=True, return_tensors="pt", return_dict=True',
        ").to(model.device)",
        f"answer = model.generate(**prompt, {', '.join(settings)})",
        "print(tokenizer.decode(answer[0]))",
    ]


def _where(story: Story, repo: str | None, variant: str | None, revision: str | None) -> list[str]:
    """The line that says what is loaded, and one for each other variant."""
    main, *others = story.recipe.release.variants

    def place(where: str, more: dict[str, str]) -> str:
        items = {"pretrained_model_name_or_path": where, **more}
        return "{" + ", ".join(f'"{key}": "{quoted(value)}"' for key, value in items.items()) + "}"

    pinned = {"revision": revision} if revision else {}
    if repo is None:  # beside the release's folder, which has a folder for each variant
        lines = [place(f"{story.name}/{which}", {}) for which in (main, *others)]
    elif variant is not None:
        lines = [place(repo, pinned)]
    else:
        lines = [place(repo, pinned), *(place(repo, {"subfolder": other, **pinned}) for other in others)]
    names = [main, *others] if variant is None else [variant]
    first, *rest = zip(names, lines, strict=True)
    return [f"where = {first[1]}  # {first[0]}", *(f"# where = {text}  # {which}" for which, text in rest)]


def _elsewhere(story: Story, repo: str | None, variant: str | None) -> str:
    """The repositories of the other variants, where each has its own."""
    release = story.recipe.release
    if repo is None or variant is None or release.repo is None:
        return ""
    homes = {other: release.repo if other == story.main else f"{release.repo}-{other}" for other in release.variants}
    rows = [(name(other), name(home)) for other, home in homes.items() if other != variant]
    return table(("variant", "repository"), rows) if rows else ""
