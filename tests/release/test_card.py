"""The cards: what they say, that the Hub's library and `datasets` read them, and that no name in them does anything."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from markdown_it import MarkdownIt

from distill import shards
from distill.recipe import model_path
from distill.records import Kept, Score
from distill.release import measured
from distill.release.card import model_card, records_card, traces_card
from distill.release.markdown import name, prose, table
from distill.statistics import share_bounds
from tests.release import made, told

HUB: dict[str, Any] = {"repo": "org/student", "tag": "v2", "records": "org/student-evals"}


def front_matter(card: str) -> dict[str, Any]:
    assert card.startswith("---\n")
    loaded: dict[str, Any] = yaml.safe_load(card.split("\n---\n")[0])
    return loaded


def test_the_front_matter_is_what_the_hub_wants(tmp_path: Path) -> None:
    card = model_card(told.story(), **HUB)
    matter = front_matter(card)
    assert matter["license"] == "apache-2.0" and "license_name" not in matter
    assert matter["base_model"] == "Qwen/Qwen2.5-Math-1.5B" and matter["base_model_relation"] == "finetune"
    assert matter["datasets"] == ["open-r1/OpenR1-Math-220k"] and matter["language"] == ["en"]
    assert matter["library_name"] == "transformers" and matter["pipeline_tag"] == "text-generation"
    assert {"distill", "reasoning"} <= set(matter["tags"]) and "bitsandbytes" not in matter["tags"]
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    loaded = ModelCard.load(tmp_path / "README.md")
    title, results = model_index_to_eval_results(matter["model-index"])
    assert title == "student" and loaded.data.eval_results == results
    assert {result.task_name for result in results} == {task.task for task in told.recipe().gate.tasks}
    assert all(r.source_url == "https://huggingface.co/datasets/org/student-evals/tree/v2" for r in results)


def test_a_quantized_repository_names_the_16_bit_one_as_its_base() -> None:
    story = told.story(told.recipe(release={"repos": "each"}))
    matter = front_matter(
        model_card(story, repo="org/student-nf4", variant="nf4", tag="v1", records="org/student-evals")
    )
    assert matter["base_model"] == "org/student" and matter["base_model_relation"] == "quantized"
    assert {"bitsandbytes", "4-bit"} <= set(matter["tags"])
    assert matter["model-index"][0]["name"] == "student-nf4"
    main = front_matter(model_card(story, repo="org/student", variant="bf16", tag="v1"))
    assert main["base_model"] == "Qwen/Qwen2.5-Math-1.5B" and main["base_model_relation"] == "finetune"


def test_only_hub_ids_are_named_as_such(tmp_path: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text("{}\n")
    recipe = told.folder(student={"base": "bundled:base"}, problems=[{"kind": "dataset", "path": str(problems)}])
    card = model_card(told.story(recipe))
    matter = front_matter(card)
    assert "base_model" not in matter and "base_model_relation" not in matter and "datasets" not in matter
    assert matter["license"] == "unknown" and "The licence of problems.jsonl" in card
    assert str(tmp_path) not in card, "a release names no path of the machine that it was made on"


def test_a_licence_without_an_id_has_a_name_and_a_link() -> None:
    card = model_card(told.story(told.recipe(student={"base": "Qwen/Qwen2.5-3B"})), **HUB)
    matter = front_matter(card)
    assert (matter["license"], matter["license_name"], matter["license_link"]) == ("other", "qwen-research", "LICENSE")
    assert "**Built with Qwen**" in card and "not commercially" in card


def test_the_card_tells_the_whole_story() -> None:
    story = told.story()
    card = model_card(story, **HUB)
    for part in (
        *("`deepseek-ai/DeepSeek-R1`", "`Parasail`", "2026-11-01", "2026-11-02", "nf4", "$9.50", "$10.25", "14.50 GiB"),
        *("| `contaminated` (stands in a task of the gate) | 7 | 0.4% |", "593", "5 by ngram, 2 by whole"),
        *("0.750 | 0.726 to 0.773", "| 1,319 | 4 |", "at most 32,768 tokens", "0.730 to 0.770", "+0.250"),
        *("sampling", "1,200 of 1,800 traces kept", "MIT License", "Not measured beside it"),
        *("`distill_mmlu_pro_logic` is MMLU-Pro, its subjects of logic", "Not asked: `distill_aime24`"),
        *("\\boxed{}", 'subfolder": "nf4"', '"revision": "v2"', "bitsandbytes", "org/student-evals/tree/v2"),
    ):
        assert part in card, part
    assert "waived" not in card and "smoke" not in card and "closed** for" not in card
    rows = [line for line in card.splitlines() if line.startswith("| `base`")]
    assert len(rows) == 3, "the base stands beside"
    assert len([line for line in card.splitlines() if line.startswith("| `nf4` |") and "| `bf16` |" in line]) == 3


def test_the_code_on_the_card_is_code_and_loads_what_it_says() -> None:
    each = told.story(told.recipe(release={"repos": "each"}))
    cards = {
        "folder": model_card(told.story(told.folder())),
        "one": model_card(told.story(), **HUB),
        "each": model_card(each, repo="org/student-nf4", variant="nf4", tag="v2"),
    }
    first = {}
    for kind, card in cards.items():
        code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0]
        compile(code, kind, "exec")
        first[kind] = re.findall(r"^where = (\{.*?\})  # (\w+)$", code, re.MULTILINE)[0]
    assert first["folder"] == ('{"pretrained_model_name_or_path": "student/bf16"}', "bf16")
    assert first["one"] == ('{"pretrained_model_name_or_path": "org/student", "revision": "v2"}', "bf16")
    assert first["each"] == ('{"pretrained_model_name_or_path": "org/student-nf4", "revision": "v2"}', "nf4")
    assert "| `bf16` | `org/student` |" in cards["each"]


def test_the_code_on_the_card_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    gate = {
        "sampling": {"max_tokens": 4},
        "tasks": [{"task": "distill_gsm8k", "min": 0}, {"task": "distill_logiqa2", "min": 0}],
    }
    card = model_card(told.story(told.folder(gate=gate)))
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "bf16").symlink_to(model_path("bundled:base"))
    monkeypatch.chdir(tmp_path)
    exec(compile(re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0], "card", "exec"), {})
    said = capsys.readouterr().out
    assert "What is 7 * 8?" in said and "within \\boxed{}" in said and "<think>" in said


def test_waivers_stand_out_at_the_top() -> None:
    reports = [told.report(outcome="fail", waiver="GSM8K is not what it is for, at all (Ada <b>)"), told.report("nf4")]
    card = model_card(told.story(reports=reports), **HUB)
    head = card.split("\n---\n", 1)[1].split("## Use")[0]
    assert "> **Released with waived checks.**" in head
    assert "> - `bf16`: `distill_gsm8k/floor` (fail): GSM8K is not what it is for, at all (Ada &#60;b&#62;)" in head
    assert "| fail, **waived** |" in card


@pytest.mark.parametrize(
    ("reports", "says"),
    [
        ([told.report(smoke=True)], "**A smoke run:**"),
        ([told.report(outcome="undecided")], "**The gate is closed** for `bf16`"),
    ],
)
def test_a_smoke_run_and_a_closed_gate_say_so(reports: Any, says: str) -> None:
    card = model_card(told.story(told.recipe(release={"variants": ["bf16"]}), reports), **HUB)
    assert says in card.split("## Use")[0]


def test_what_was_asked_in_rounds_and_other_baselines_are_told() -> None:
    rounds = told.score("distill_gsm8k", "math", 400, planned=1319, looks=(200, 400))
    others = {"base": told.scores(-0.2), "previous": told.scores(-0.1), "teacher": told.scores(0.1)}
    report = told.report()
    changed = type(report)(
        report.checkpoint, "bf16", (rounds, *report.scores[1:]), others, report.checks, report.confidence
    )
    card = model_card(told.story(told.recipe(release={"variants": ["bf16"]}), [changed]), **HUB)
    assert "400 of 1,319" in card and "ended as soon as its checks were decided, after 400 of 1,319" in card
    for who in ("previous", "teacher"):
        assert f"| `{who}` | `distill_gsm8k` |" in card and f"| `bf16` | `distill_gsm8k` | `{who}` |" in card
    assert "Not measured beside it" not in card


def test_a_manifest_without_a_number_is_an_error_and_not_a_gap() -> None:
    story = told.story()
    lacking = {**story.manifests, "curate": {k: v for k, v in story.manifests["curate"].items() if k != "kept"}}
    with pytest.raises(KeyError, match="kept"):
        model_card(type(story)(story.recipe, lacking, story.reports), **HUB)


def hostile() -> Any:
    """A story in which whatever comes from elsewhere is an attack."""
    recipe = told.folder(
        teacher=told.REPLAY | {"model": told.HOSTILE, "path": told.HOSTILE, "revision": told.HOSTILE},
        problems=None,
        student={"base": told.HOSTILE, "revision": told.HOSTILE},
        gate={
            "tasks": [
                {"task": "distill_rg_zebra_puzzles", "min": 0.1, "config": {told.HOSTILE: told.HOSTILE}},
                {"task": "distill_gsm8k", "min": 0.5},
                {"task": "distill_bbh_logic", "min": 0.5},
            ]
        },
        release={"licences": {"teacher": told.HOSTILE, "base": told.HOSTILE, "data": told.HOSTILE}},
    )
    report = told.report(outcome="fail", waiver=told.HOSTILE)
    scores = (told.score(f"distill_rg_{told.HOSTILE}", "logic", 3), *report.scores)
    check = report.checks[0]
    checks = (type(check)(told.HOSTILE, told.HOSTILE, 0, 0, 0, "pass", told.HOSTILE), *report.checks)
    report = type(report)(report.checkpoint, "bf16", scores, {"base": scores}, checks, 0.95)
    return told.story(
        recipe,
        [report],
        sample={"teacher": told.HOSTILE, "served_models": [told.HOSTILE], "providers": [told.HOSTILE]}
        | {"first_created": told.HOSTILE},
        curate={
            "by_source": {told.HOSTILE: {"read": 1, "kept": 1, "dropped": {}}},
            "decontaminated_against": [told.HOSTILE],
            "by_task": {told.HOSTILE: {"ngram": 1}},
            "judge": {"model": told.HOSTILE, "asked": 3},
        },
        problems={"counts": {told.HOSTILE: 1}},
        train={"base_revision": told.HOSTILE},
        gate={"sealed": told.HOSTILE, "fingerprint": told.HOSTILE},
    )


@pytest.mark.parametrize("kind", ["model", "records", "traces"])
def test_hostile_names_are_text_and_nothing_else(kind: str, tmp_path: Path) -> None:
    story = hostile()
    if kind == "model":
        card = model_card(story, tag=told.HOSTILE)
    else:
        card = (records_card if kind == "records" else traces_card)(story, f"org/student-{kind}", told.HOSTILE)
    matter, body = card.split("\n---\n", 1)
    loaded = yaml.safe_load(matter)
    assert loaded["license"] in ("unknown", "other") and "model_name" not in loaded
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    (ModelCard if kind == "model" else DatasetCard).load(tmp_path / "README.md")
    assert "R1" in body
    for attack in ("<script", "</script", "<img", "](javascript", "\n---", "‮"):
        assert attack not in body, attack
    assert "https://evil" not in body and "evil.example" in body
    for line in body.splitlines():
        if line.startswith("|"):
            bare = re.sub(r"\\.", "", line)
            assert bare.count("|") == bare.count(" |") + 1 or set(bare) <= set("|- "), line
    code = re.findall(r"```python\n(.*?)```", body, re.DOTALL)[0]
    compile(code, "card", "exec")
    tokens = [
        part
        for token in MarkdownIt("commonmark").enable("table").parse(body)
        for part in (token, *(token.children or ()))
    ]
    assert not {token.type for token in tokens} & {"html_inline", "html_block", "image"}
    links = [str(token.attrs["href"]) for token in tokens if token.type == "link_open"]
    assert all(link.startswith("https://huggingface.co/") for link in links), links


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a&#124;b"),
        ("`x`", "&#96;x&#96;"),
        ("<b>&amp;", "&#60;b&#62;&#38;amp;"),
        ("[x](y)", "&#91;x&#93;(y)"),
        ("http://x", "http:/&#47;x"),
        ("www.x.org", "www&#46;x.org"),
        ("me@x.org", "me&#64;x.org"),
        ("- item", r"\- item"),
        ("1. item", "1&#46; item"),
        ("# head", r"\# head"),
        ("a\nb\x1b[31m\u202e\0", "a b&#91;31m"),
        ("DeepSeek-R1 (x)", "DeepSeek-R1 (x)"),
    ],
)
def test_prose_is_escaped_where_it_must_be(text: str, shown: str) -> None:
    assert prose(text) == shown


def test_names_are_code_unless_they_are_odd() -> None:
    assert name("deepseek-ai/DeepSeek-R1") == "`deepseek-ai/DeepSeek-R1`"
    assert name("a`b") == "a&#96;b" and name("") == "(no name)" and len(name("x" * 9000)) < 600
    assert table(("a", "b"), []) == "None."


def interval(score: Score) -> tuple[float, float]:
    low, high = measured._interval(score).split(" to ")
    return float(low), float(high)


def test_intervals_are_clustered_and_never_nothing() -> None:
    low, high = interval(told.score("distill_gsm8k", "math", 1319, 0.75))
    assert 0.72 < low < 0.73 and 0.77 < high < 0.78
    few_low, few_high = interval(told.score("distill_gsm8k", "math", 3, 0.75))
    assert few_high - few_low > 1.9 * (high - low), "three problems tell little"
    low, high = interval(told.score("distill_gsm8k", "math", 10, 1.0))
    assert low == pytest.approx(0.025**0.1, abs=5e-4) and high == 1.0, "Clopper and Pearson: ten of ten"


def test_the_card_has_the_intervals_of_the_leaderboard() -> None:
    score = told.score("distill_gsm8k", "math", 40, 0.75)
    bounds = share_bounds(list(score.by_problem.values()), 0.975)
    assert interval(score) == pytest.approx((bounds.lower, bounds.upper), abs=5e-4)


def test_differences_are_paired_and_bounded_where_all_are_alike() -> None:
    ours, theirs = told.score("distill_gsm8k", "math", 40, 0.75), told.score("distill_gsm8k", "math", 40, 0.5)
    ours = replace(ours, by_problem={name: value / 2 + 0.25 for name, value in ours.by_problem.items()})
    theirs = replace(theirs, by_problem={name: value - 0.25 for name, value in ours.by_problem.items()})

    def gap(ours: Score, theirs: Score) -> tuple[float, bool, float, float, str]:
        said, bounds, problems = measured._gap(ours, theirs)
        low, high = map(float, bounds.split(" to "))
        return float(said.split()[0]), "(clear)" in said, low, high, problems

    mean, clear, low, high, problems = gap(ours, theirs)
    assert problems == "40" and abs(mean - 0.25) < 1e-9
    assert clear and low < 0.25 < high
    few = [replace(one, by_problem=dict(list(one.by_problem.items())[:3])) for one in (ours, theirs)]
    assert not gap(*few)[1], "three problems that agree show nothing yet"
    mixed = replace(ours, by_problem={f"p{at}": at % 4 / 4 for at in range(40)})
    mean, _, low, high, _ = gap(mixed, theirs)
    assert low < mean < high
    assert not gap(replace(ours, by_problem={"p0": 1.0}), theirs)[1], "one problem shows nothing"
    assert measured._gap(replace(ours, by_problem={"elsewhere": 1.0}), theirs) == ("not comparable", "", "0")


def test_datasets_reads_the_records_by_task_and_by_who_answered(tmp_path: Path) -> None:
    from datasets import load_dataset

    story = told.story()
    card = records_card(story, "org/student-evals", "v1")
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    for who in ("bf16", "nf4", "base"):
        for task in (task.task for task in story.recipe.gate.tasks):
            folder = tmp_path / who / task
            folder.mkdir(parents=True)
            (folder / "results_2026-11-20T10-00-00.000000.json").write_text("{}")
            row = {"doc_id": 0, "doc": {"id": "a"}, "resps": [[who]], "tokens": [7], "avg_at_k": 1.0, "target": task}
            (folder / f"samples_{task}_2026-11-20T10-00-00.000000.jsonl").write_text(json.dumps(row) + "\n")
    samples = load_dataset(str(tmp_path), "distill_gsm8k", cache_dir=str(tmp_path / "cache"))
    assert set(samples) == {"bf16", "nf4", "base"}
    assert samples["nf4"][0]["resps"] == [["nf4"]] and samples["base"][0]["target"] == "distill_gsm8k"
    assert 'load_dataset("org/student-evals", "distill_gsm8k", split="bf16", revision="v1")' in card


def test_datasets_reads_the_traces(tmp_path: Path) -> None:
    from datasets import load_dataset

    card = traces_card(told.story(), "org/student-traces", "v1")
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    shards.write_parts(tmp_path / "parts", made.kept(), Kept)
    (tmp_path / "data").mkdir()
    (tmp_path / "parts" / "part-00000.parquet").rename(tmp_path / "data" / "train-00000-of-00001.parquet")
    traces = load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(traces) == 3 and traces[0]["problem"]["answer"] == "1"
    matter = front_matter(card)
    assert matter["license"] == "apache-2.0" and matter["size_categories"] == ["1K<n<10K"]
    described = re.findall(r"^\| (`.*?`) \|", card.split("## How it was made")[0], re.MULTILINE)
    assert sorted(traces.column_names) == sorted(found for row in described for found in re.findall(r"`(\w+)`", row))
