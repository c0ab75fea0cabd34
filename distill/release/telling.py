"""What was done, told in Markdown: a story's manifests in, the cards' tables and sentences out. Every number in them
comes from a manifest; a KeyError says that one is missing."""

from collections.abc import Mapping, Sequence
from typing import Any

from distill.recipe import Recipe
from distill.release.licences import Licence
from distill.release.markdown import bullets, name, prose, table
from distill.release.parts import hub_id, place
from distill.release.story import Story
from distill.sections import ReasoningGymProblems
from distill.teacher_sections import EndpointTeacher, LocalTeacher, ReplayTeacher

Rows = list[tuple[str, str]]


def rows(found: Rows) -> str:
    """The rows of a table without a head."""
    return "\n".join(f"| {key} | {value} |" for key, value in found)


def teacher_rows(story: Story) -> Rows:
    """Who solved the problems, where, when, and how."""
    traces, teacher = story.manifests["sample"], story.recipe.teacher
    found = [("teacher", name(place(traces["teacher"]) or "not stated"))]
    served = ", ".join(name(place(model)) for model in traces["served_models"])
    found += [
        ("served as", served or "not stated"),
        ("provider", ", ".join(name(provider) for provider in traces["providers"]) or "not stated"),
        ("traces drawn", f"{_when(traces['first_created'])} to {_when(traces['last_created'])}"),
    ]
    if isinstance(teacher, ReplayTeacher):
        found.append(("replayed from", f"{name(place(teacher.path))}{_revision(teacher.revision)}"))
    else:
        drawn = teacher.sampling
        found.append(
            ("sampling", f"temperature {drawn.temperature:g}, top-p {drawn.top_p:g}, {drawn.max_tokens:,} tokens")
        )
    if isinstance(teacher, LocalTeacher) and teacher.quantization != "none":
        found.append(("teacher's weights", teacher.quantization))
    if isinstance(teacher, EndpointTeacher) and teacher.allow_other_model:
        found.append(("alias", "answers of a served model of another name were accepted"))
    return found


def student_rows(story: Story) -> Rows:
    """What was trained, and how."""
    student, section = story.manifests["train"], story.recipe.student
    revision = student["base_revision"] or section.revision
    method = "an adapter, merged" if student["adapter"] else "all weights"
    kept = "" if student["quantization"] == "none" else f", over a base in {student['quantization']}"
    objective = section.objective
    how = "on the kept traces" if objective.kind == "sft" else "by the teacher's distributions over the kept traces"
    most = "" if section.max_steps is None else f", at most {section.max_steps:,} steps"
    found = [
        ("base", f"{name(place(section.base))}{_revision(revision) or ' (revision not stated)'}"),
        ("trained", f"{objective.kind} {how}, {objective.epochs:g} epochs{most}; {method}{kept}"),
        ("learning rate", f"{student['learning_rate']:g}, {student['steps']:,} steps"),
        ("tokens seen", f"{student['tokens']:,}, of them {student['loss_tokens']:,} with a loss"),
        (
            "traces learnt from",
            f"{student['traces']:,}; {student['held_out']:,} held out, {student['too_long']:,} too long",
        ),
    ]
    if section.best_by != "last":
        found.append(("checkpoint", f"step {student['chosen_step']:,}, chosen by held-out {section.best_by}"))
    return found


def data(story: Story) -> str:
    """Where the problems came from, and what became of the traces."""
    problems, traces, kept = (story.manifests[stage] for stage in ("problems", "sample", "curate"))
    counts = ", ".join(f"{count:,} {prose(what.replace('_', ' '))}" for what, count in problems["counts"].items())
    sources = table(("data", "what of it"), [(name(source), what) for source, what in _sources(story.recipe)])
    by_source = table(
        ("source", "traces", "kept"),
        [
            (name(place(source)), f"{found['read']:,}", f"{found['kept']:,}")
            for source, found in kept["by_source"].items()
        ],
    )
    verified = "verified against reference answers" if story.recipe.curate.verify else "not verified"
    return "\n\n".join(
        (
            f"{problems['problems']:,} problems ({counts}); {traces['traces']:,} traces, {traces['failed']:,} attempts "
            f"failed; {kept['kept']:,} of {kept['read']:,} traces kept, {verified}, with {kept['tokens']:,} tokens."
            + _judged(kept.get("judge")),
            sources,
            by_source,
        )
    )


def datasets(recipe: Recipe) -> list[str]:
    """The Hub data sets that the student learnt from."""
    paths = [section.path for section in recipe.problems if not isinstance(section, ReasoningGymProblems)]
    if isinstance(recipe.teacher, ReplayTeacher):
        paths.append(recipe.teacher.path)
    return list(dict.fromkeys(found for path in paths if (found := hub_id(path, dataset=True))))


def dropped(story: Story) -> str:
    """Which traces were dropped, and why."""
    kept = story.manifests["curate"]
    read = kept["read"]
    return table(
        ("because", "traces", "share"),
        [
            (name(reason.replace("_", " ")) + _meaning(reason), f"{count:,}", f"{count / read:.1%}")
            for reason, count in kept["dropped"].items()
        ],
    )


def contamination(story: Story) -> tuple[str, str]:
    """How traces were held against the gate's tasks, and what was found in each."""
    kept, section = story.manifests["curate"], story.recipe.curate.decontaminate
    gate = story.manifests.get("gate", {}).get("contaminated")
    tasks: Sequence[str] = kept["decontaminated_against"]
    like = "is one" if section.fuzzy is None else f"is like one (likeness {section.fuzzy:g} and more)"
    text = "prompt, reasoning or answer" if section.reasoning else "prompt"
    told = (
        f"Every trace was held against the prompts of the gate's own tasks, and dropped where its {text} shares "
        f"{section.ngram} words in a row with one, or its prompt {like}. "
        + ("" if gate is None else "The gate looked through the kept traces once more.")
    )

    def left(task: str) -> str:
        return "not looked for" if gate is None or task not in gate else f"{gate[task]:,}"

    def lost(task: str) -> str:
        return ", ".join(f"{count:,} by {stage}" for stage, count in kept["by_task"].get(task, {}).items()) or "0"

    return told, table(("task", "traces dropped", "kept traces found"), [(name(t), lost(t), left(t)) for t in tasks])


def cost(story: Story) -> str:
    """What it took: money, tokens, time and memory."""
    traces, student = story.manifests["sample"], story.manifests["train"]
    spent = traces.get("spent_usd")
    price = "not known" if traces["cost_usd"] is None else f"${traces['cost_usd']:.2f}"
    generated = traces["completion_tokens"]
    found = [
        ("price of the traces", price),
        ("spent on all attempts", "not known" if spent is None else f"${spent:.2f}"),
        ("tokens that the teacher wrote", "not stated" if generated is None else f"{generated:,}"),
        ("training", f"{student['tokens_per_s']:,.0f} tokens/s, {student['peak_memory_gib']:.2f} GiB at most"),
    ]
    times = ", ".join(
        f"{stage} {manifest['seconds']:,.0f} s" for stage, manifest in story.manifests.items() if "seconds" in manifest
    )
    return table(("what", "how much"), [*found, ("time of the last run of each stage", times or "not stated")])


def licence(settled: Licence) -> str:
    """The licence, from what it follows, and what it asks."""
    title = prose(settled.name)
    link = f" <{settled.link}>" if settled.link else ""
    parts = [f"**{title}**{link}", "It follows from:", bullets(prose(sentence) for sentence in settled.because)]
    if settled.warnings:
        parts += ["Open questions:", bullets(f"**{prose(sentence)}**" for sentence in settled.warnings)]
    if settled.obligations:
        parts += ["Whoever passes it on has to:", bullets(prose(sentence) for sentence in settled.obligations)]
    parts.append("This was worked out by distill's rules, which are no legal advice.")
    return "\n\n".join(parts)


def _sources(recipe: Recipe) -> Rows:
    found: Rows = []
    for section in recipe.problems:
        if isinstance(section, ReasoningGymProblems):
            found.append((f"reasoning-gym {section.task}", f"{section.size:,} problems, seeds from {section.seed} on"))
        else:
            subset = f", {section.subset}" if section.subset else ""
            limit = f", the first {section.limit:,} rows" if section.limit else ""
            what = f"split {section.split}{subset}{limit}"
            found.append((place(section.path), prose(what) + _revision(section.revision)))
    if isinstance(recipe.teacher, ReplayTeacher):
        found.append((place(recipe.teacher.path), "problems and traces"))
    return found


def _judged(judge: Mapping[str, Any] | None) -> str:
    if judge is None:
        return ""
    return f" A judge, {name(judge['model'])}, was asked about {judge['asked']:,} answers where rules did not suffice."


_MEANINGS = {
    "contaminated": "stands in a task of the gate",
    "unfinished": "cut off before its end",
    "unverifiable": "the rules could not tell",
    "off_difficulty": "its problem is too easy or too hard",
    "off_mix": "too many long ones",
    "off_balance": "too many of its source",
    "api_error": "an error message instead of an answer",
}


def _meaning(reason: str) -> str:
    return f" ({_MEANINGS[reason]})" if reason in _MEANINGS else ""


def _when(stamp: str) -> str:
    return prose(stamp) if stamp else "not stated"


def _revision(revision: str | None) -> str:
    return f" at revision {name(revision)}" if revision else ""
