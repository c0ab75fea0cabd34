"""Release: gated variants and the run's manifests in, a folder that anyone can check out.

Nothing is made here that was not gated: the variants' folders are copied as they were measured, and their hashes
are compared before and after.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.errors import DistillError, GateClosed
from distill.records import GateReport, Release
from distill.release.card import card
from distill.run import hash_files, write_json


def publish(
    name: str,
    variants: Mapping[str, Path],
    reports: Sequence[GateReport],
    manifests: Mapping[str, Mapping[str, Any]],
    lineage: Sequence[Path],
    out: Path,
) -> Release:
    """Writes `out`: a folder per variant, the card, the lineage, and the hashes of all files.

    `manifests` are the sealed stages' by name, `lineage` the files to lay beside them. Written under a temporary name
    and renamed, so that there is a whole release or none. Raises GateClosed where a variant's report did not pass.
    """
    passed = {report.variant: report.passed for report in reports}
    closed = [variant for variant in variants if not passed.get(variant, False)]
    if closed:
        raise GateClosed(f"nothing was released: the gate did not pass for {', '.join(closed)}")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for variant, folder in variants.items():
        shutil.copytree(folder, partial / variant)
    for path in lineage:
        target = partial / "lineage" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    (partial / "README.md").write_text(card(name, reports, manifests), encoding="utf-8")
    files = hash_files(partial)
    for variant, folder in variants.items():
        if any(files.get(f"{variant}/{name}") != digest for name, digest in hash_files(folder).items()):
            raise DistillError(f"the copy of {folder} differs from what was gated; is the disk failing?")
    write_json(partial / "hashes.json", files)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return Release(str(out), tuple(variants), files)
