"""Which way imports point, what `import dualhmr` loads, and what no file may mention."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "dualhmr": ROOT / "sdk" / "dualhmr",
    "dualhmr_training": ROOT / "training" / "dualhmr_training",
    "dualhmr_export": ROOT / "export" / "dualhmr_export",
}

# A module of the SDK imports from its own layer and those above it in this list, never below.
LAYERS = (
    {
        "arguments",
        "arrays",
        "compiling",
        "files",
        "groups",
        "plain_data",
        "untrusted",
        "rotations",
        "boxes",
        "camera",
        "crop",
        "image_files",
        "images",
        "keypoints",
    },
    {"body", "adaptation", "motion", "rendering", "weights", "torch_threads"},
    {"networks"},
    {"objective"},
    {"bundle", "engines", "person", "plausibility", "uncertainty", "detection"},
    {"person_fitting"},
    {"recovered_people", "recovery", "recovery_files", "recoverer", "example", "outputs"},
    {"video", "jobs", "serving", "viewing"},
    {"cli"},
)
NOT_LOADED = ("av", "onnxruntime", "tensorrt", "cupy", "numba", "matplotlib", "trimesh", "skimage")
NOT_NEEDED_TO_PARSE = (*NOT_LOADED, "scipy", "accelerate", "dualhmr_training.data.annotations")

# The folder that training leaves, and the rendered people that int8 is calibrated on.
READ_BY_EXPORT = ("dualhmr_training.training_folder.", "dualhmr_training.data.synthetic.")

MACHINE_PATHS = ("../shared", "/work/", "/home/")
TEXT = {".py", ".md", ".txt", ".toml", ".json", ".yaml", ".yml", ".sh", ".cfg", ".ini", ""}


def modules_of(package: str) -> dict[str, Path]:
    """Every module by its dotted name."""
    folder = PACKAGES[package]
    modules = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imports_of(path: Path) -> Iterator[str]:
    """Dotted names of what a file imports, wherever in the file; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def all_imports(package: str) -> list[tuple[str, str]]:
    """Pairs of a module and what it imports."""
    return [(m, i) for m, path in modules_of(package).items() for i in imports_of(path)]


def top(name: str) -> str:
    return name.partition(".")[0]


def layer_of(module: str) -> int:
    part = module.split(".")[1]
    found = [number for number, names in enumerate(LAYERS) if part in names]
    assert found, f"{module} has no layer yet: say in tests/test_imports.py where it belongs"
    return found[0]


def test_the_parser_sees_imports(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("import a.b as c\nfrom d import e\ndef f():\n    from g.h import i, j\n")
    assert list(imports_of(path)) == ["a.b", "d.e", "g.h.i", "g.h.j"]
    assert ("dualhmr.objective.objective", "dualhmr.objective.losses") in all_imports("dualhmr")


def test_the_sdk_never_looks_upward() -> None:
    wrong = [pair for pair in all_imports("dualhmr") if top(pair[1]) in list(PACKAGES)[1:]]
    assert not wrong


def test_training_and_export_do_not_know_each_other() -> None:
    wrong = [pair for pair in all_imports("dualhmr_training") if top(pair[1]) == "dualhmr_export"]
    wrong += [
        (module, name)
        for module, name in all_imports("dualhmr_export")
        if top(name) == "dualhmr_training" and not f"{name}.".startswith(READ_BY_EXPORT)
    ]
    assert not wrong


def test_what_is_shipped_does_not_need_tests_benchmarks_or_scripts() -> None:
    everything = [pair for package in PACKAGES for pair in all_imports(package)]
    assert not [pair for pair in everything if top(pair[1]) in ("tests", "benchmarks", "scripts")]


def test_layers_of_the_sdk() -> None:
    wrong = []
    for module, name in all_imports("dualhmr"):
        if module == "dualhmr" or top(name) != "dualhmr" or name == "dualhmr.__version__":
            continue
        assert name != "dualhmr", f"{module} imports the whole package"
        if layer_of(name) > layer_of(module):
            wrong.append(f"{module} imports {name}")
    assert not wrong


def test_adaptation_knows_tensors_and_nothing_of_humans() -> None:
    known = {*sys.stdlib_module_names, "torch"}
    allowed = {
        "dualhmr.adaptation.compiled_loops": ("numpy", "dualhmr.compiling"),
        "dualhmr.adaptation.compiled_head": ("numpy", "dualhmr.compiling"),
        "dualhmr.adaptation.head_iterations": ("numpy", "dualhmr.compiling"),
        "dualhmr.adaptation.input_quadrature": ("numpy",),
        "dualhmr.adaptation.fast_head.arithmetic": ("dualhmr.compiling",),
    }
    wrong = [
        pair
        for pair in all_imports("dualhmr")
        if pair[0].startswith("dualhmr.adaptation")
        and top(pair[1]) not in known
        and not f"{pair[1]}.".startswith(tuple(f"{name}." for name in allowed.get(pair[0], ())))
        and not pair[1].startswith("dualhmr.adaptation.")
    ]
    assert not wrong


def test_no_circles() -> None:
    modules = {name for package in PACKAGES for name in modules_of(package)}
    graph: dict[str, set[str]] = {}
    for package in PACKAGES:
        for module, name in all_imports(package):
            imported = name if name in modules else name.rpartition(".")[0]
            if imported in modules and imported != top(imported):
                graph.setdefault(module, set()).add(imported)
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order.index("dualhmr.rotations") < order.index("dualhmr.objective.objective")


def test_import_loads_no_heavy_library_and_changes_no_global_state() -> None:
    program = f"""
import sys
import dualhmr
print(*(name for name in {(*NOT_LOADED, "torch")!r} if name in sys.modules))

import warnings
import numpy, torch

def state():
    return (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
            torch.get_rng_state().tolist(), str(numpy.random.get_state()), str(warnings.filters))

before = state()
for name in [name for name in sys.modules if name.startswith("dualhmr")]:
    del sys.modules[name]
import dualhmr
dualhmr.load_body
assert state() == before, "global state"
print(*(name for name in {NOT_LOADED!r} if name in sys.modules))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_the_command_line_loads_nothing_heavy_before_it_runs_a_command() -> None:
    program = f"""
import contextlib, sys
from dualhmr.cli import main

with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):
    main(["recover", "--help"])
assert "dualhmr_training.cli.evaluate" in sys.modules
print(*(name for name in {NOT_NEEDED_TO_PARSE!r} if name in sys.modules))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "--example" in result.stderr
    assert result.stdout.split() == []


@pytest.mark.parametrize(
    "folder", ["sdk", "training", "export", "benchmarks", "scripts", "examples", ".github"]
)
def test_no_file_mentions_our_machine(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {mention}"
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix in TEXT and "__pycache__" not in path.parts
        for mention in MACHINE_PATHS
        if mention in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert not found
