"""The cards of a release: a story in, Markdown with the Hub's front matter out.

Every number comes from a manifest or a report, and what comes from elsewhere (names, reasons, waivers) is escaped. A
card says nothing of the day on which it is written, so that the same release has the same card.
"""

import re
from pathlib import Path
from string import Template

from distill.release import limits, matter, measured, telling
from distill.release.benchmarks import benchmark
from distill.release.licences import settle, settle_traces
from distill.release.markdown import bullets, name, prose, table
from distill.release.parts import hub_id, place
from distill.release.story import Story
from distill.release.use import quoted, use

HERE = Path(__file__).parent
HUB = matter.HUB
"""The Hub's address, as it stands on the cards."""


def model_card(
    story: Story,
    *,
    repo: str | None = None,
    variant: str | None = None,
    tag: str | None = None,
    records: str | None = None,
    revision: str | None = None,
) -> str:
    """The model's card: for a release in a folder where `repo` is None, for one with all variants where `variant` is.

    `tag` is the release's name on the Hub, `revision` what the code on the card loads (the tag, left out), `records`
    the data set of the evaluation records. Raises KeyError where a manifest lacks a number, rather than leave it out,
    and InputError where there is no licence for it.
    """
    settled = settle(story)
    title = repo.partition("/")[2] if repo else story.name
    shown = [report for report in story.reports if variant in (None, report.variant)]
    told, found = telling.contamination(story)
    return _filled(
        "card.md",
        front_matter=matter.of_model(story, settled, title, variant, matter.records_url(records, tag)),
        title=prose(title),
        display="".join(f"\n**{prose(sentence)}**\n" for sentence in settled.display),
        waivers=measured.waivers(shown),
        closed=measured.closed(shown),
        summary=_summary(story, variant),
        made=telling.rows([*telling.student_rows(story), *telling.teacher_rows(story), *_release_rows(story, tag)]),
        use=use(story, repo, variant, revision or tag),
        budget=measured.budget(story),
        scores=measured.scores(story, shown),
        differences=measured.differences(story, shown),
        gate=measured.gate(story),
        checks=measured.checks(shown),
        data=telling.data(story),
        dropped=telling.dropped(story),
        contamination=told,
        found=found,
        cost=telling.cost(story),
        limits=bullets(limits.sentences(story)),
        licence=telling.licence(settled),
        evidence=_evidence(story, repo, tag, records),
    )


def records_card(story: Story, repo: str, tag: str) -> str:
    """The card of the evaluation records: a configuration for each task, a split for each that was measured."""
    who, tasks = measured.measured(story), [task.task for task in story.recipe.gate.tasks]
    model = repo.removesuffix("-evals")
    asked = next((score.task for scores in who.values() for score in scores), tasks[0])
    return _filled(
        "records.md",
        front_matter=matter.of_records(story),
        model=prose(model),
        repo=quoted(repo),
        tag=quoted(tag),
        release=name(tag),
        source=f"The model: <{matter.HUB}/{model}>." if hub_id(model) else "",
        who=bullets(f"`{which}`: {measured.who(which)}" for which in who),
        first_task=quoted(asked),
        first_who=next(iter(who), story.main),
        protocol=measured.budget(story),
        sources=table(("task", "questions from"), [(name(task), name(benchmark(task).dataset)) for task in tasks]),
    )


def traces_card(story: Story, repo: str, tag: str) -> str:
    """The card of the kept traces as a data set of parquet files under `data/`."""
    settled = settle_traces(story)
    told, found = telling.contamination(story)
    return _filled(
        "traces.md",
        front_matter=matter.of_traces(story, settled),
        model=prose(repo.removesuffix("-traces")),
        repo=quoted(repo),
        tag=quoted(tag),
        release=name(tag),
        kept=f"{story.manifests['curate']['kept']:,}",
        made=telling.rows(telling.teacher_rows(story)),
        data=telling.data(story),
        dropped=telling.dropped(story),
        contamination=told,
        found=found,
        licence=telling.licence(settled),
    )


def _filled(template: str, **values: str) -> str:
    text = Template((HERE / template).read_text(encoding="utf-8")).substitute(values)
    return re.sub(r"\n{3,}", "\n\n", text)


def _summary(story: Story, variant: str | None) -> str:
    teacher = name(place(story.manifests["sample"]["teacher"]) or "a teacher that is not stated")
    weights = f", in {variant}" if variant else ""
    return (
        f"A student that learnt to reason from the traces of {teacher}{weights}. Made, measured and gated by distill; "
        "every number on this card comes from the manifests and records that go along."
    )


def _release_rows(story: Story, tag: str | None) -> telling.Rows:
    gate = story.manifests["gate"]
    found = [("gated", f"{prose(gate['sealed'])}; run {name(gate['fingerprint'])}")]
    return [*found, ("release", name(tag))] if tag else found


def _evidence(story: Story, repo: str | None, tag: str | None, records: str | None) -> str:
    found = [
        "`lineage/`: the recipe, every stage's manifest, the gate's reports and the loss of every step",
        "`hashes.json`: the sha256 of every file",
    ]
    address = matter.records_url(records, tag)
    found.append(f"{f'<{address}>' if address else '`evals/`'}: lm-eval's results and all samples")
    if repo is not None and story.recipe.release.traces:
        found.append(f"<{matter.records_url(f'{story.recipe.release.repo}-traces', tag)}>: the kept traces")
    return bullets(found)
