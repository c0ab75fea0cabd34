"""The licence of a release: what follows from teacher, base and data, and what is refused."""

import re
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from distill.errors import InputError
from distill.recipe import load, shipped
from distill.release.licences import Licence, settle, settle_recipe, settle_traces
from distill.release.terms import MODELS, TERMS, terms
from tests.release import told

OWN_DATA = [{"kind": "dataset", "path": "ours/problems"}]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def based_on(base: str, repo: str = "org/student", **changes: Any) -> Licence:
    release = {"repo": repo, **changes.pop("release", {})}
    return settle_recipe(told.recipe(student={"base": base}, release=release, **changes))


@pytest.mark.parametrize(
    ("base", "repo", "id_", "slug"),
    [
        ("Qwen/Qwen2.5-Math-1.5B", "org/student", "apache-2.0", "apache-2.0"),
        ("Qwen/Qwen2.5-0.5B", "org/student", "apache-2.0", "apache-2.0"),
        ("Qwen/Qwen2.5-7B-Instruct", "org/student", "apache-2.0", "apache-2.0"),
        ("Qwen/Qwen2.5-3B", "org/student", "other", "qwen-research"),
        ("Qwen/Qwen2.5-72B", "org/student", "other", "qwen"),
        ("Qwen/Qwen2.5-Math-72B", "org/student", "other", "qwen"),
        ("Qwen/Qwen3-4B-Base", "org/student", "apache-2.0", "apache-2.0"),
        ("Qwen/Qwen3-30B-A3B", "org/student", "apache-2.0", "apache-2.0"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "org/student", "mit", "mit"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "org/Llama-student", "llama3.1", "llama3.1"),
        ("meta-llama/Llama-3.1-8B", "org/Llama-student", "llama3.1", "llama3.1"),
        ("meta-llama/Llama-3.2-1B-Instruct", "org/Llama-student", "llama3.2", "llama3.2"),
        ("meta-llama/Llama-3.3-70B-Instruct", "org/Llama3.3-student", "llama3.3", "llama3.3"),
        ("meta-llama/Meta-Llama-3-8B", "org/Llama-3-student", "llama3", "llama3"),
        ("google/gemma-2-2b", "org/student", "gemma", "gemma"),
        ("google/gemma-3-1b-it", "org/student", "gemma", "gemma"),
        ("mistralai/Mistral-7B-v0.3", "org/student", "apache-2.0", "apache-2.0"),
        ("microsoft/phi-4", "org/student", "mit", "mit"),
        ("HuggingFaceTB/SmolLM2-135M", "org/student", "apache-2.0", "apache-2.0"),
        ("bundled:base", "org/student", "apache-2.0", "apache-2.0"),
    ],
)
def test_the_weights_keep_the_bases_licence(base: str, repo: str, id_: str, slug: str) -> None:
    found = based_on(base, repo)
    assert (found.id, found.slug) == (id_, slug)
    assert found.notices["LICENSE"].strip() and base in found.notices["NOTICE"]
    assert any(base in sentence for sentence in found.because) and found.obligations
    expected = (
        {"license": id_} if id_ != "other" else {"license": "other", "license_name": slug, "license_link": "LICENSE"}
    )
    assert found.front_matter == expected


def test_llama_asks_for_name_display_notice_copy_and_policy() -> None:
    found = based_on("meta-llama/Llama-3.1-8B", "org/Llama-student")
    said = " ".join(found.obligations)
    for part in ('"Built with Llama"', '"Llama"', "NOTICE", "copy", "llama3_1/use-policy", "700 million", "1.b.i"):
        assert part in said
    assert found.display == ("Built with Llama",)
    line = "Llama 3.1 is licensed under the Llama 3.1 Community License, Copyright © Meta Platforms, Inc."
    assert f"{line} All Rights Reserved." in found.notices["NOTICE"] and "Built with Llama" in found.notices["NOTICE"]
    assert "LLAMA 3.1 COMMUNITY LICENSE AGREEMENT" in found.notices["LICENSE"]


@pytest.mark.parametrize(
    ("base", "repo", "wanted"),
    [
        ("meta-llama/Llama-3.2-1B", "org/student", "repo: org/Llama-student"),
        ("meta-llama/Llama-3.2-1B", "org/my-Llama", "repo: org/Llama-my-Llama"),
        ("meta-llama/Llama-3.2-1B", "Llama/student", "repo: Llama/Llama-student"),
        ("meta-llama/Llama-3.2-1B", "org/llama-student", "repo: org/Llama-llama-student"),
        ("meta-llama/Meta-Llama-3-8B", "org/Llama-student", "repo: org/Llama-3-Llama-student"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "org/student", "repo: org/Llama-student"),
    ],
)
def test_a_name_that_llama_does_not_allow_is_refused_with_one_that_it_does(base: str, repo: str, wanted: str) -> None:
    with pytest.raises(InputError, match=re.escape(wanted)):
        based_on(base, repo)


@pytest.mark.parametrize("teacher", ["meta-llama/Llama-3.3-70B-Instruct", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"])
def test_llamas_name_is_asked_for_where_only_its_output_was_learnt_from(teacher: str) -> None:
    with pytest.raises(InputError, match="must begin with"):
        settle_recipe(told.recipe(teacher=told.endpoint(teacher)))
    release = {"repo": "org/Llama-student"}
    found = settle_recipe(told.recipe(teacher=told.endpoint(teacher), release=release))
    assert found.id == "apache-2.0", "no Llama weights are in it"
    assert any("Llama 3.3" in sentence and "1.b.i" in sentence for sentence in found.obligations)


def test_a_folder_is_told_of_the_name_instead() -> None:
    found = settle_recipe(told.folder(student={"base": "meta-llama/Llama-3.1-8B"}))
    assert any('must begin with "Llama"' in sentence for sentence in found.warnings)
    named = settle_recipe(told.folder(name="Llama-student", student={"base": "meta-llama/Llama-3.1-8B"}))
    assert not named.warnings


@pytest.mark.parametrize(
    ("model", "url"),
    [
        ("gpt-4o", "http://localhost:8000/v1"),
        ("openai/o3-mini", "https://openrouter.ai/api/v1"),
        ("anything", "https://api.openai.com/v1"),
        ("anything", "https://team.openai.azure.com/openai/v1"),
        ("claude-sonnet-4-5", "https://api.anthropic.com/v1"),
        ("anthropic/claude-opus-4", "https://openrouter.ai/api/v1"),
        ("us.anthropic.claude-sonnet-4-v1:0", "http://localhost:4000/v1"),
        ("gpt-6-mini", "http://localhost:4000/v1"),
        ("gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai"),
        ("google/gemini-2.5-flash", "https://openrouter.ai/api/v1"),
    ],
)
@pytest.mark.parametrize("to", ["hub", "folder"])
def test_teachers_whose_terms_forbid_it_are_refused(model: str, url: str, to: str) -> None:
    make = told.recipe if to == "hub" else told.folder
    with pytest.raises(InputError, match=r"may not be (used|released)") as refused:
        settle_recipe(make(teacher=told.endpoint(model, url)))
    assert "Write another teacher, such as deepseek-ai/DeepSeek-R1" in str(refused.value)


@pytest.mark.parametrize(
    ("model", "url"),
    [
        ("deepseek-ai/DeepSeek-R1-0528", "http://localhost:8000/v1"),
        ("deepseek/deepseek-r1:free", "https://openrouter.ai/api/v1"),
        ("deepseek-reasoner", "https://api.deepseek.com/v1"),
        ("openai/gpt-oss-120b", "http://localhost:8000/v1"),
        ("Qwen/QwQ-32B", "http://localhost:8000/v1"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "http://localhost:8000/v1"),
    ],
)
def test_free_teachers_add_nothing(model: str, url: str) -> None:
    found = settle_recipe(told.recipe(teacher=told.endpoint(model, url)))
    assert found.id == "apache-2.0" and len(found.obligations) == 1


def test_llama_2_and_3_teach_their_own_family_alone() -> None:
    llama3 = told.endpoint("meta-llama/Meta-Llama-3-70B-Instruct")
    with pytest.raises(InputError, match=r"may improve no other language model \(section 1\.b\.v\)"):
        settle_recipe(told.recipe(teacher=llama3))
    with pytest.raises(InputError, match=r"1\.b\.v"):
        based_on("meta-llama/Llama-3.1-8B", "org/Llama-student", teacher=llama3)
    assert based_on("meta-llama/Meta-Llama-3-8B", "org/Llama-3-student", teacher=llama3).id == "llama3"
    with pytest.raises(InputError, match=r"1\.b\.v"):
        settle_recipe(told.recipe(teacher=told.endpoint("meta-llama/Llama-2-70b-chat-hf")))


def test_gemma_and_qwen_research_bind_what_learns_from_them() -> None:
    gemma = settle_recipe(told.recipe(teacher=told.endpoint("google/gemma-3-27b-it")))
    assert gemma.id == "gemma" and any("1.1(e)" in sentence for sentence in gemma.obligations)
    assert "LICENSE-apache-2.0" in gemma.notices, "the base's licence goes along"
    qwen = settle_recipe(told.recipe(teacher=told.endpoint("Qwen/Qwen2.5-3B-Instruct")))
    assert (qwen.id, qwen.slug, qwen.display) == ("other", "qwen-research", ("Built with Qwen",))
    assert any("not commercially" in sentence for sentence in qwen.obligations)
    large = settle_recipe(told.recipe(teacher=told.endpoint("Qwen/Qwen2.5-72B-Instruct")))
    assert large.id == "apache-2.0" and large.display == ("Built with Qwen",)


def test_two_licences_are_named_together() -> None:
    found = based_on("meta-llama/Llama-3.1-8B", "org/Llama-student", teacher=told.endpoint("google/gemma-2-27b-it"))
    assert (found.id, found.slug) == ("other", "gemma-and-llama3.1")
    assert "LICENSE-llama3.1" in found.notices and "Gemma Terms of Use" in found.notices["LICENSE"]


def test_the_name_that_answered_counts_too() -> None:
    asked = told.recipe(teacher=told.endpoint("my-alias"))
    with pytest.raises(InputError, match=r"release: \{licences: \{teacher: LICENCE\}\}"):
        settle_recipe(asked)
    assert settle_recipe(asked, ("deepseek-ai/DeepSeek-R1",)).id == "apache-2.0"
    with pytest.raises(InputError, match="gpt-4o"):
        settle_recipe(told.recipe(), ("gpt-4o-2024-08-06",))
    with pytest.raises(InputError, match="gpt-4o"):
        settle(told.story(sample={"served_models": ["gpt-4o"]}))


def test_a_teacher_that_scores_and_a_judge_count() -> None:
    kd = {"kind": "kd", "teacher": told.endpoint("gpt-4o")}
    with pytest.raises(InputError, match="OpenAI"):
        settle_recipe(told.recipe(student={"base": "Qwen/Qwen3-4B", "objective": kd}))
    with pytest.raises(InputError, match=r"claude-x \(judge\)"):
        settle_recipe(told.recipe(curate={"judge": {"engine": told.endpoint("claude-x")}}))
    unknown = told.recipe(curate={"judge": {"engine": told.endpoint("some-judge")}})
    assert settle_recipe(unknown).id == "apache-2.0", "a judge's own licence binds nothing"


@pytest.mark.parametrize(
    ("stated", "id_"),
    [
        ("own", "apache-2.0"),
        ("mit", "apache-2.0"),
        ("cc-by-4.0", "apache-2.0"),
        ("cc0-1.0", "apache-2.0"),
        ("odc-by", "apache-2.0"),
        ("CC-BY-NC-4.0", "cc-by-nc-4.0"),
        ("cc-by-sa-4.0", "cc-by-sa-4.0"),
        ("cc-by-nc-sa-4.0", "cc-by-nc-sa-4.0"),
        ("House Rules 3", "other"),
        ("CC-BY-SA-3.5", "other"),
    ],
)
def test_datas_licence_is_stated_and_followed(stated: str, id_: str) -> None:
    made = told.recipe(problems=OWN_DATA, release={"licences": {"data": stated}})
    found = settle_recipe(made)
    assert found.id == id_
    assert any("the recipe says so" in sentence for sentence in found.because)
    named = any("Name the" in sentence and "ours/problems" in sentence for sentence in found.obligations)
    assert named == (stated in ("cc-by-4.0", "CC-BY-NC-4.0", "cc-by-sa-4.0", "cc-by-nc-sa-4.0", "odc-by"))


@pytest.mark.parametrize("stated", ["cc-by-nd-4.0", "cc-by-nc-nd-4.0"])
def test_data_that_allows_no_derivatives_is_refused(stated: str) -> None:
    with pytest.raises(InputError, match=r"may not be shared .* Write other data"):
        settle_recipe(told.recipe(problems=OWN_DATA, release={"licences": {"data": stated}}))


def test_share_alike_is_kept_alone_or_refused() -> None:
    shared = {"problems": OWN_DATA, "release": {"licences": {"data": "cc-by-sa-4.0"}, "repo": "org/Llama-student"}}
    with pytest.raises(InputError, match="cannot be kept together"):
        settle_recipe(told.recipe(student={"base": "meta-llama/Llama-3.1-8B"}, **shared))
    both = {"problems": OWN_DATA, "release": {"licences": {"data": "cc-by-nc-sa-4.0", "teacher": "cc-by-nc-4.0"}}}
    assert settle_recipe(told.recipe(teacher=told.endpoint("my-own"), **both)).id == "cc-by-nc-sa-4.0"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"problems": OWN_DATA}, "the licence of the data 'ours/problems' is not known"),
        ({"student": {"base": "nobody/knows"}}, "the licence of the base 'nobody/knows' is not known"),
        ({"teacher": told.REPLAY | {"model": "replay"}, "problems": None}, "the licence of the teacher 'replay'"),
    ],
)
def test_unknown_is_refused_on_the_hub_and_said_in_a_folder(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)) as refused:
        settle_recipe(told.recipe(**changes))
    assert "write release: {licences: {" in str(refused.value)
    found = settle_recipe(told.folder(**changes))
    assert found.id == "unknown" and len(found.warnings) == 1 and "is not known" in found.warnings[0]


@pytest.mark.parametrize(
    ("licences", "says"),
    [
        ({"base": "mit"}, "says mit, but Qwen/Qwen2.5-Math-1.5B is under apache-2.0"),
        ({"data": "unknown"}, "says nothing"),
        ({"data": ""}, "says nothing"),
        ({"data": "???"}, "says nothing"),
        ({"data": "TODO"}, "says nothing"),
        ({"base": "own"}, "own does not say what others may do"),
    ],
)
def test_a_stated_licence_that_cannot_be_is_refused(licences: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        settle_recipe(told.recipe(release={"licences": licences}))


def test_a_replayed_data_set_is_teacher_and_data() -> None:
    found = settle_recipe(told.recipe(teacher=told.REPLAY, problems=None))
    assert found.id == "apache-2.0" and any("data open-thoughts/OpenThoughts-114k" in one for one in found.because)


def test_a_model_folder_says_its_licence_by_card_or_file(tmp_path: Path) -> None:
    model = tmp_path / "base"
    model.mkdir()
    with pytest.raises(InputError, match="licence of the base"):
        based_on(str(model))
    (model / "LICENSE.txt").write_text("**LLAMA 3.2 COMMUNITY LICENSE AGREEMENT**\n\n Llama 3.2 Version\nold", "utf-8")
    found = based_on(str(model), "org/Llama-student")
    assert found.id == "llama3.2" and found.notices["LICENSE"].endswith("old"), "the base's own copy goes along"
    (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n# x\n", "utf-8")
    (model / "NOTICE").write_text("Keep me.\n", "utf-8")
    found = based_on(str(model))
    assert found.id == "apache-2.0" and "Keep me." in found.notices["NOTICE"]
    (model / "README.md").write_text("---\nlicense: other\nlicense_name: qwen-research\n---\n", "utf-8")
    assert based_on(str(model)).slug == "qwen-research"


@pytest.mark.parametrize(
    "card",
    [
        "---\nlicense: [apache-2.0, weird]\n---\n",
        "---\nlicense: !!python/object/apply:os.system [true]\n---\n",
        "---\nlicense: own\n---\n",
        "---\n- 1\n---\n",
        "---\nlicense: 2026-99-99\n---\n",
        "---\n" + "[" * 5000 + "\n---\n",
        "license: mit\n",
    ],
)
def test_a_card_that_says_nothing_certain_leaves_it_unknown(tmp_path: Path, card: str) -> None:
    (tmp_path / "README.md").write_text(card, "utf-8")
    with pytest.raises(InputError, match="licence of the base"):
        based_on(str(tmp_path))


def test_a_data_sets_card_in_the_hubs_cache_is_read(tmp_path: Path) -> None:
    commit = "b" * 40
    repo = tmp_path / "hub" / "datasets--ours--problems"
    (repo / "snapshots" / commit).mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    (repo / "snapshots" / commit / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n", "utf-8")
    found = settle_recipe(told.recipe(problems=OWN_DATA))
    assert found.id == "cc-by-nc-4.0" and any("its data set card says so" in one for one in found.because)


def test_traces_are_under_datas_and_teachers_terms() -> None:
    assert settle_traces(told.story()).id == "apache-2.0"
    noncommercial = told.recipe(problems=OWN_DATA, release={"licences": {"data": "cc-by-nc-4.0"}})
    assert settle_traces(told.story(noncommercial)).id == "cc-by-nc-4.0"
    llama = told.recipe(student={"base": "meta-llama/Llama-3.1-8B"}, release={"repo": "org/Llama-student"})
    assert settle_traces(told.story(llama)).id == "apache-2.0", "no weights are in them"


def test_hostile_names_stay_on_one_line() -> None:
    made = told.folder(teacher=told.REPLAY | {"model": told.HOSTILE, "path": told.HOSTILE}, problems=None)
    found = settle_recipe(made)
    for text in (*found.because, *found.warnings, *found.obligations):
        assert "\n" not in text and "‮" not in text
    assert found.notices["NOTICE"].count("\n") < 10 and "evil.example" in found.notices["NOTICE"].splitlines()[2]


@pytest.mark.parametrize("shipped_recipe", shipped())
def test_shipped_recipes_have_a_licence(shipped_recipe: str) -> None:
    found = settle_recipe(load(shipped_recipe))
    local = "traces.json" in " ".join(found.because)
    assert found.id == ("unknown" if local else "apache-2.0")


def test_the_tables_hold_together() -> None:
    for pattern, ids in MODELS:
        re.compile(pattern)
        assert set(ids) <= set(TERMS)
    for licence in TERMS.values():
        assert terms(licence.id) == licence
        if licence.outputs != "free":
            assert licence.learnt, f"{licence.id} says what follows"
        if licence.hub and licence.begins:
            assert "COMMUNITY LICENSE AGREEMENT" in str(licence.text)
    assert terms("openrail") is None and terms("cc-by-4") is None


@pytest.mark.parametrize(("base", "section"), [("Qwen/Qwen2.5-72B", "5.b"), ("Qwen/Qwen2.5-3B", "4.b")])
def test_qwens_two_licences_ask_the_same_in_different_sections(base: str, section: str) -> None:
    found = settle_recipe(told.recipe(student={"base": base, "lora": {"rank": 4}}))
    assert any("Built with Qwen" in sentence and f"section {section})" in sentence for sentence in found.obligations)
