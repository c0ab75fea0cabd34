"""The cards' front matter, as the Hub reads it: a story in, YAML between two lines out."""

from typing import Any

from huggingface_hub import DatasetCardData, ModelCardData

from distill.release import telling
from distill.release.licences import Licence
from distill.release.markdown import line
from distill.release.measured import measured
from distill.release.parts import hub_id
from distill.release.results import model_index
from distill.release.story import Story

HUB = "https://huggingface.co"
TAGS = {"int8": "8-bit", "nf4": "4-bit"}
"""The Hub's tag for each quantized variant."""

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def of_model(story: Story, settled: Licence, title: str, variant: str | None, records: str | None) -> str:
    """A model's: licence, base, data sets, tags, and the `model-index` with every score. `records` is the address of
    the evaluation records. Only what is a Hub id is named as one."""
    recipe, which = story.recipe, variant or story.main
    apart = variant is not None and variant != story.main
    base = recipe.release.repo if apart else hub_id(recipe.student.base)
    tags = ["distill", "reasoning", "math", "logic", "lm-eval"]
    if which in TAGS:
        tags += ["bitsandbytes", TAGS[which]]
    licence: dict[str, Any] = settled.front_matter
    data = ModelCardData(
        **licence,
        language=["en"],
        library_name="transformers",
        pipeline_tag="text-generation",
        base_model=base,
        base_model_relation=None if base is None else "quantized" if apart else "finetune",
        datasets=telling.datasets(recipe) or None,
        tags=tags,
        model_name=line(title),
        eval_results=model_index(story, variant, records) or None,
    )
    return _between(data)


def of_records(story: Story) -> str:
    """The evaluation records': a configuration for each task, in it a split for each that was measured."""
    configs = []
    for task in (task.task for task in story.recipe.gate.tasks):
        files = [
            {"split": who, "path": f"{who}/{task}/samples_{task}_*.jsonl"}
            for who, scores in measured(story).items()
            if any(score.task == task for score in scores)
        ]
        if files:
            configs.append({"config_name": task, "data_files": files})
    return _between(
        DatasetCardData(
            pretty_name=f"Evaluation records of {line(story.name)}",
            license="other",
            license_name="benchmarks-own",
            license_link="README.md",
            language=["en"],
            task_categories=["text-generation"],
            tags=["distill", "lm-eval", "evaluation"],
            configs=configs,
        )
    )


def of_traces(story: Story, settled: Licence) -> str:
    """The kept traces', one split in parquet files."""
    licence: dict[str, Any] = settled.front_matter
    if settled.id == "other":
        licence |= {"license_link": "README.md"}
    return _between(
        DatasetCardData(
            pretty_name=f"Traces behind {line(story.name)}",
            language=["en"],
            task_categories=["text-generation"],
            tags=["distill", "reasoning", "synthetic"],
            size_categories=[_size(story.manifests["curate"]["kept"])],
            source_datasets=telling.datasets(story.recipe) or None,
            configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
            **licence,
        )
    )


def records_url(records: str | None, tag: str | None) -> str | None:
    """Where a data set is (the evaluation records, the traces), as it was released."""
    if records is None:
        return None
    return f"{HUB}/datasets/{records}" + (f"/tree/{tag}" if tag else "")


def _between(data: ModelCardData | DatasetCardData) -> str:
    return f"---\n{data.to_yaml()}\n---"


def _size(rows: int) -> str:
    return next((label for bound, label in _SIZES if rows < bound), "1M<n<10M")
