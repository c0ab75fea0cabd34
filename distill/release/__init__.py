"""Release: gated variants and the run's manifests in, a folder that anyone can check out, and from there to the Hub.

Nothing is made here that was not gated: the variants' folders are copied as they were measured, and their hashes
are compared with the gate's records, and after the copy. `distill.release.hub` takes the folder to the Hub.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from distill.errors import DistillError
from distill.records import Release
from distill.release.card import model_card
from distill.release.evidence import refuse_changed, refuse_odd
from distill.release.licences import settle
from distill.release.ready import check, refuse_closed
from distill.release.story import Story
from distill.run import hash_files, write_json

__all__ = ["check", "publish"]


def publish(story: Story, variants: Mapping[str, Path], lineage: Sequence[Path], evidence: Path, out: Path) -> Release:
    """Writes `out`: a folder per variant, the card, what the licence asks for, the lineage, the evaluation records
    (lm-eval's results and samples, under `evals/`), and the hashes of all files.

    `lineage` are files to lay beside the weights, `evidence` is the folder of the gate's scores. Written under a
    temporary name and renamed, so that there is a whole release or none. Raises GateClosed where a variant's report did
    not pass, InputError where a licence forbids the release, DistillError where a folder is not what was measured, or
    holds what must not be passed on.
    """
    refuse_closed(story.reports, variants)
    licence = settle(story)
    gated = {}
    for variant, folder in variants.items():
        refuse_odd(folder, story.recipe.student.trust_remote_code)
        gated[variant] = hash_files(folder)
        refuse_changed(folder, gated[variant], evidence / variant)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for variant, folder in variants.items():
        shutil.copytree(folder, partial / variant)
    for path in lineage:
        _copy(path, partial / "lineage" / path.parent.name / path.name)
    for pattern in ("results_*.json", "samples_*.jsonl"):
        for path in sorted(evidence.rglob(pattern)):
            _copy(path, partial / "evals" / path.relative_to(evidence))
    for name, text in licence.notices.items():
        (partial / name).write_text(text, encoding="utf-8")
    (partial / "README.md").write_text(model_card(story), encoding="utf-8")
    files = hash_files(partial)
    for variant, folder in variants.items():
        if _below(files, variant) != gated[variant]:
            raise DistillError(f"the copy of {folder} differs from what was gated; is the disk failing?")
    write_json(partial / "hashes.json", files)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return Release(str(out), tuple(variants), files)


def _below(files: Mapping[str, str], top: str) -> dict[str, str]:
    return {path.removeprefix(f"{top}/"): digest for path, digest in files.items() if path.startswith(f"{top}/")}


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target)
