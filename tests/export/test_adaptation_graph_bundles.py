"""`adaptation.onnx` of the default networks, and as part of bundles."""

import dataclasses
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.onnx_bundles import edit_graph
from helpers.small_bundle import MANIFEST, SPEC, upright
from helpers.tensorrt_fakes import HostMemory, OnnxEngine, fake_module
from onnx import numpy_helper

from dualhmr import Recoverer, open_bundle
from dualhmr.body.model import load_body
from dualhmr.bundle import (
    ADAPTATION_GRAPH,
    ADAPTATION_START,
    ADAPTATION_STEPS,
    Bundle,
    write_manifest,
)
from dualhmr.engines import EngineOptions, open_networks
from dualhmr.engines.tensorrt import steps
from dualhmr.engines.tensorrt.cache import prebuild
from dualhmr.engines.tensorrt.library import Gpu, Library, load_library
from dualhmr.engines.tensorrt.run import LoadedEngine
from dualhmr.engines.torch_networks import torch_head
from dualhmr.example import example
from dualhmr.files import sha256
from dualhmr_export import parity
from dualhmr_export.export import _adaptation_body
from dualhmr_export.parity import STEP_GRAPHS, adaptation_differences, real_people
from dualhmr_export.verify import verify
from dualhmr_export.write_bundle import write_adaptation_graph


def with_file(bundle: Bundle, path: Path) -> Bundle:
    """The bundle with the file `path` as its graph."""
    if path != bundle.folder / ADAPTATION_GRAPH:
        shutil.copy(path, bundle.folder / ADAPTATION_GRAPH)
    paths = bundle.folder.glob("adaptation*.onnx")
    files = bundle.manifest.files | {path.name: sha256(path) for path in paths}
    write_manifest(bundle.folder, dataclasses.replace(bundle.manifest, files=files))
    return open_bundle(bundle.folder)


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A copy of the default bundle with its graph."""
    folder = tmp_path_factory.mktemp("default") / "bundle"
    shutil.copytree(open_bundle().folder, folder)
    bundle = open_bundle(folder)
    path = folder / ADAPTATION_GRAPH
    write_adaptation_graph(path, torch_head(bundle), bundle.manifest, load_body(), steps=True)
    return with_file(bundle, path)


def test_default_networks_adapt_as_in_pytorch(default: Bundle) -> None:
    report = verify(default)
    rows = report.rows[-2:]
    assert [row.graph for row in rows] == [ADAPTATION_GRAPH, STEP_GRAPHS]
    for row in rows:
        assert row.what == "vertices after adaptation, mm"
        assert row.holds
        assert 0 < row.absolute < 0.02
    assert report.note == ""
    assert "| adaptation.onnx | vertices after adaptation, mm |" in str(report)


def test_facts_in_the_file(default: Bundle) -> None:
    model = onnx.load(default.path(ADAPTATION_GRAPH))
    facts = {each.key: each.value for each in model.metadata_props}
    names = facts.pop("keypoints").split(",")
    assert {"nose", "left_big_toe", "neck", "mid_hip"} < set(names)
    assert len(names) == len(set(names))
    assert facts == {
        "schedule": "trained",
        "stop_rule": "within_phase",
        "max_steps": "14",
        "tolerance": "2e-05",
        "camera": "cliff",
        "body": "dualhmr-free-body",
    }
    assert default.path(ADAPTATION_GRAPH).stat().st_size < 3e6


@pytest.mark.parametrize(
    ("file", "row"),
    [
        (ADAPTATION_GRAPH, ADAPTATION_GRAPH),
        (ADAPTATION_START, STEP_GRAPHS),
        (ADAPTATION_STEPS[0], STEP_GRAPHS),
        (ADAPTATION_STEPS[1], STEP_GRAPHS),
    ],
)
def test_changed_graphs_are_found(
    default: Bundle, tmp_path: Path, file: str, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the graphs of the adaptation: those of the networks are in `test_verify.py`."""

    def change(model: onnx.ModelProto) -> None:
        largest = max(model.graph.initializer, key=lambda each: len(each.raw_data))
        array = numpy_helper.to_array(largest) * np.float32(1.01)
        largest.CopyFrom(numpy_helper.from_array(array, largest.name))

    people = list(islice(real_people(default.manifest), 1))
    monkeypatch.setattr(parity, "real_people", lambda _manifest: people)
    shutil.copytree(default.folder, tmp_path / "b")
    bundle = open_bundle(edit_graph(tmp_path / "b", file, change))
    rows = adaptation_differences(bundle, open_networks(bundle), load_body().arrays())
    assert [each.graph for each in rows if not each.holds] == [row]


def test_another_number_of_steps_does_not_hold(default: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    shutil.copytree(default.folder, folder)
    schedule = dataclasses.replace(default.manifest.schedule, tolerance=1.0)
    write_manifest(folder, dataclasses.replace(default.manifest, schedule=schedule))
    # Steps end by the manifest's rule.
    assert [row.holds for row in verify(open_bundle(folder)).rows] == [True, True, False, True]


def test_networks_of_a_licensed_body(default: Bundle, tmp_path: Path) -> None:
    folder, body = tmp_path / "b", load_body()
    shutil.copytree(default.folder, folder)
    manifest = dataclasses.replace(default.manifest, body="smpl")
    write_manifest(folder, manifest)
    report = verify(open_bundle(folder))
    assert len(report.rows) == 2
    assert "adaptation.onnx was not compared: pass the body 'smpl'" in str(report)
    with pytest.raises(ValueError, match="trained on body 'smpl'"):
        verify(open_bundle(folder), body=body)
    said: list[str] = []
    assert _adaptation_body(manifest, None, None, said.append) is None
    assert "is written without adaptation.onnx" in said[0]
    assert "--body" in said[0]
    with pytest.raises(ValueError, match="trained on body 'smpl'"):
        _adaptation_body(manifest, body, None, said.append)
    licensed = dataclasses.replace(body, name="SMPL_NEUTRAL")
    assert _adaptation_body(manifest, licensed, None, said.append) is licensed


def test_unknown_schedules(tmp_path: Path) -> None:
    head = upright(SPEC, 1).head
    with pytest.raises(ValueError, match="unknown schedule 'no'"):
        write_adaptation_graph(
            tmp_path / ADAPTATION_GRAPH, head, MANIFEST, load_body(), schedule="no"
        )


@pytest.mark.parametrize("target", ["sm89", "sm120"])
def test_steps_build_as_engines(default: Bundle, tmp_path: Path, target: str) -> None:
    """`test_command_export.py` builds others for SM86."""
    library = load_library("tensorrt_rtx")
    for name, least in ((ADAPTATION_START, 1e5), (ADAPTATION_STEPS[1], 1e6)):
        settings = {"max_batch": 1, "target": target, "library": library}
        engine = prebuild(default.path(name), tmp_path, **settings)  # type: ignore[arg-type]
        assert engine.stat().st_size > least


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime takes the place of TensorRT, and the host's memory that of a GPU."""
    library = Library(fake_module(captures_by_itself=False), "tensorrt", "10.3.0", "12")
    found = library, Gpu(0, "Orin", "sm87", "cupy")
    monkeypatch.setattr(steps, "library_and_gpu", lambda _device: found)
    monkeypatch.setattr(steps, "device_memory", lambda _gpu: HostMemory())

    def load(path: Path, **_settings: object) -> LoadedEngine:
        return LoadedEngine(None, OnnxEngine(path.read_bytes()), None)

    monkeypatch.setattr(steps, "load_engine", load)


@pytest.mark.usefixtures("stand_in")
def test_people_are_adapted_step_by_step(default: Bundle) -> None:
    expected, found = (
        Recoverer(default, adaptation=each, options=EngineOptions(threads=1)).recover(*example())
        for each in ("onnx", "tensorrt")
    )
    assert found.adaptation == "tensorrt 10.3.0 Orin (sm87)"
    assert found.stop_reason == expected.stop_reason
    np.testing.assert_allclose(found.loss_history, expected.loss_history, rtol=1e-4)
    np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-5)
    recoverer = Recoverer(default, adaptation="tensorrt")
    with pytest.raises(ValueError, match=r"by the schedule 'trained'.*use adaptation 'numba'"):
        recoverer.recover(*example(), schedule="paper")


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"schedule": "paper"}, "graphs of 2 phases, schedule 'paper' has 1"),
        ({"schedule": "own"}, "unknown schedule 'own'; known are paper"),
        ({"keypoints": "nose,,neck"}, "its keypoints are 'nose,,neck', expected names"),
        (
            {"keypoints": ",".join(f"p{i}" for i in range(99))},
            r"keypoints has the shape \(1, 99, 2\), expected",
        ),
    ],
)
def test_steps_of_other_facts(
    default: Bundle, tmp_path: Path, facts: dict[str, str], message: str
) -> None:
    shutil.copytree(default.folder, tmp_path / "b")
    path = tmp_path / "b" / ADAPTATION_START
    model = onnx.load(path)
    known = {each.key: each.value for each in model.metadata_props}
    onnx.helper.set_model_props(model, known | facts)
    onnx.save(model, path)
    changed = dataclasses.replace(default, folder=tmp_path / "b")
    bundle = with_file(changed, changed.folder / ADAPTATION_GRAPH)
    with pytest.raises(ValueError, match=message):
        Recoverer(bundle, adaptation="tensorrt").recover(*example())


def test_without_steps_or_tensorrt_nothing_adapts_there(default: Bundle) -> None:
    with pytest.raises(FileNotFoundError, match=r"adaptation_start\.onnx.*--step-graphs"):
        Recoverer(adaptation="tensorrt")
    with pytest.raises(ValueError, match="adaptation 'tensorrt' the head alone"):
        Recoverer(default, adaptation="tensorrt", scope="all")
    with pytest.raises(ValueError, match="TensorRT runs on"):
        Recoverer(default, adaptation="tensorrt")
