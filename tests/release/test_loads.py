"""What was pushed is loaded as anyone would: transformers and datasets by the repositories' names, over loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

from distill.release import publish
from distill.release.story import Story
from distill.release.variants import build
from tests.release import made
from tests.release.hub_server import HubServer
from tests.students import tiny

LOADER = """
import json, sys
from datasets import load_dataset
from huggingface_hub import hf_hub_download
from transformers import AutoModelForCausalLM, AutoTokenizer

said = {}
for name, repo, more in (
    ("bf16", "org/student", {}),
    ("v1", "org/student", {"revision": "v1"}),
    ("nf4", "org/student", {"subfolder": "nf4"}),
    ("own", "org/apart-nf4", {}),
):
    model, tokenizer = (kind.from_pretrained(repo, **more) for kind in (AutoModelForCausalLM, AutoTokenizer))
    turns = [{"role": "user", "content": "1+1?"}]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, return_tensors="pt")
    made = model.generate(**ids, max_new_tokens=5, do_sample=False)
    said[name] = [made.shape[1] - ids["input_ids"].shape[1], str(model.dtype), hasattr(model, "hf_quantizer")]
traces = load_dataset("org/student-traces", split="train")
said["traces"] = [len(traces), traces[0]["problem"]["answer"], traces[0]["completion"]["reasoning"]]
for who in ("bf16", "nf4", "base"):
    said[who + " samples"] = load_dataset("org/student-evals", "distill_gsm8k", split=who)[0]["resps"]
said["card"] = open(hf_hub_download("org/student", "README.md")).read()
print(json.dumps(said))
"""


@pytest.fixture
def pushed(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """Two releases of a tiny model with its real cards: all in one repository, and each variant in its own."""
    monkeypatch.undo()  # the real cards
    made.alone(monkeypatch, tmp_path)
    merged = tmp_path / "merged"
    tiny.model().to(torch.bfloat16).save_pretrained(merged)
    tiny.tokenizer().save_pretrained(merged)
    variants = {name: build(merged, name, tmp_path / "built" / name) for name in ("bf16", "nf4")}
    for where, release in (("one", {"traces": True}), ("each", {"repos": "each", "repo": "org/apart"})):
        told = made.story(variants=["bf16", "nf4"], **release)
        made.pushed(told, _released(told, variants, tmp_path / where), hub.url)
    return hub


def _released(told: Story, variants: dict[str, Path], root: Path) -> Path:
    run = made.run(root, ("bf16", "nf4"))
    lineage = [run / "5-gate" / "reports.json", *sorted((run / "3-kept").glob("part-*.parquet"))]
    return Path(publish(told, variants, lineage, run / "scores", run / "6-release" / "student").path)


@pytest.mark.slow
def test_what_was_pushed_loads_and_generates(pushed: HubServer, tmp_path: Path) -> None:
    environment = os.environ | {
        "HF_ENDPOINT": pushed.url,
        "HF_TOKEN": "hf_reader",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOADER], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    for name in ("bf16", "v1", "nf4", "own"):
        tokens, dtype, quantized = said[name]
        assert 1 <= tokens <= 5 and dtype == "torch.bfloat16" and quantized == (name in ("nf4", "own")), name
    assert said["traces"] == [3, "1", "0 and one."]
    assert said["bf16 samples"] == [["bf16 1"]] and said["base samples"] == [["base 1"]]
    card = ModelCard(said["card"])
    assert card.data.license == "apache-2.0" and card.data.eval_results
    assert "org/student-evals" in card.text and '"subfolder": "nf4"' in card.text
