"""Floors: imports only go down; the light modules load nothing heavy; no file and no function grows past its bound."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("distill", "teachers", "students", "evals")
HEAVY = {"torch", "transformers", "lm_eval", "bitsandbytes", "datasets", "peft", "accelerate"}

# From the ground up. A module stands on the first floor whose name it has, or whose name it begins with.
FLOORS: list[tuple[str, ...]] = [
    ("distill.errors",),
    ("distill.think",),
    ("distill.prompts",),
    ("distill.records",),
    ("distill.tasknames", "distill.answers", "distill.faults"),
    ("distill.catalogue",),
    ("distill.sections",),
    ("distill.teacher_sections",),
    ("distill.student_sections", "distill.gate_sections"),
    ("distill.curate_sections",),
    ("distill.recipe",),
    ("distill.run", "distill.processes"),
    ("distill.plan",),
    (
        "distill.shards",
        "distill.charts",
        "distill.signals",
        "distill.tables",
        "distill.procedural",
        "distill.quantization",
        "distill.repetition",
        "distill.bounded",
        "distill.pages",
    ),
    ("distill.journal", "distill.samples", "distill.judged", "distill.statistics"),
    ("distill.engines",),
    (
        "teachers",
        "students",
        "evals",
        "distill.problems",
        "distill.curate",
        "distill.release",
        "distill.quickstart",
        "distill.chat",
    ),
    ("distill.road",),
    ("distill.train_stage", "distill.gate_stage", "distill.release_stage"),
    ("distill.pipeline", "distill.views", "distill.report", "distill.leaderboard"),
    ("distill.looks",),
    ("distill.cli",),
]
ROOMS = next(names for names in FLOORS if "students" in names)


def modules() -> list[tuple[str, Path]]:
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def place(module: str) -> tuple[int, str] | None:
    for height, names in enumerate(FLOORS):
        for name in names:
            if module == name or module.startswith(name + "."):
                return height, name
    return None


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, whether at import time) for every import of ours or of a heavy library."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, at_import: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, at_import) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.append((child.module, at_import))
                found.extend((f"{child.module}.{alias.name}", at_import) for alias in child.names)
            inner = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            type_checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            visit(child, at_import and not inner and not type_checking)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


MODULES = modules()


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_imports_only_go_down(module: str, path: Path) -> None:
    here = place(module)
    if module == "distill":
        assert not imports(path)
        return
    assert here is not None, f"{module} stands on no floor"
    for target, _ in imports(path):
        there = place(target)
        if there is None or there[1] == here[1]:
            continue
        assert there[0] < here[0], f"{module} imports {target}, which stands on the same floor or above"


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_only_rooms_and_engines_load_heavy_libraries(module: str, path: Path) -> None:
    heavy = {target.split(".")[0] for target, at_import in imports(path) if at_import} & HEAVY
    allowed = module.startswith("distill.engines.") or any(
        module.startswith(f"{room}.") for room in ROOMS if room != "distill.chat"
    )
    assert allowed or not heavy, f"{module} loads {heavy} when it is imported"


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_files_and_functions_are_small_and_modules_say_what_they_are(module: str, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{module} has no docstring"
    assert len(text.splitlines()) <= 400
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{module}.{node.name} is too long"


@pytest.mark.parametrize(
    "statement",
    [
        "import distill.cli; distill.cli.app(['--help'], standalone_mode=False)",
        "import distill.cli; distill.cli.app(['show', 'quickstart'], standalone_mode=False)",
        "import distill.engines.endpoint, distill.engines.scripted, teachers, teachers.sampling, teachers.replay",
        "import students, evals, distill.pipeline, distill.problems, distill.curate",
    ],
)
def test_the_light_parts_load_nothing_heavy(statement: str) -> None:
    check = f"import sys\n{statement}\nheavy = {HEAVY!r} & set(sys.modules)\nassert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_top_level_is_the_stated_one() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    folders = {name.split("/")[0] for name in listed if "/" in name}
    assert folders <= {*PACKAGES, "tests", ".ci"}


def test_no_test_folder_shadows_a_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))
