"""`adaptation.onnx` of the default networks, and as part of bundles."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_bundle import MANIFEST, SPEC, upright
from onnx import numpy_helper

from dualhmr import open_bundle
from dualhmr.body.model import load_body
from dualhmr.bundle import ADAPTATION_GRAPH, Bundle, write_manifest
from dualhmr.engines.torch_networks import torch_head
from dualhmr.files import sha256
from dualhmr_export.adaptation_graph import (
    GraphProblem,
    adaptation_graph,
    write_adaptation_graph,
)
from dualhmr_export.export import _adaptation_body
from dualhmr_export.verify import verify
from dualhmr_export.write_bundle import write_bundle


def with_file(bundle: Bundle, path: Path) -> Bundle:
    """The bundle with the file `path` as its graph."""
    if path != bundle.folder / ADAPTATION_GRAPH:
        shutil.copy(path, bundle.folder / ADAPTATION_GRAPH)
    files = bundle.manifest.files | {ADAPTATION_GRAPH: sha256(bundle.folder / ADAPTATION_GRAPH)}
    write_manifest(bundle.folder, dataclasses.replace(bundle.manifest, files=files))
    return open_bundle(bundle.folder)


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A copy of the default bundle with its graph."""
    folder = tmp_path_factory.mktemp("default") / "bundle"
    shutil.copytree(open_bundle().folder, folder)
    bundle = open_bundle(folder)
    path = folder / ADAPTATION_GRAPH
    write_adaptation_graph(path, torch_head(bundle), bundle.manifest, load_body())
    return with_file(bundle, path)


def test_default_networks_adapt_as_in_pytorch(default: Bundle) -> None:
    report = verify(default)
    row = report.rows[-1]
    assert (row.graph, row.what) == (ADAPTATION_GRAPH, "vertices after adaptation, mm")
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


def test_changed_graphs_are_found(default: Bundle, tmp_path: Path) -> None:
    model = onnx.load(default.path(ADAPTATION_GRAPH))
    largest = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    array = numpy_helper.to_array(largest) * np.float32(1.01)
    largest.CopyFrom(numpy_helper.from_array(array, largest.name))
    onnx.save(model, tmp_path / ADAPTATION_GRAPH)
    shutil.copytree(default.folder, tmp_path / "b")
    report = verify(with_file(open_bundle(tmp_path / "b"), tmp_path / ADAPTATION_GRAPH))
    assert [row.graph for row in report.rows if not row.holds] == [ADAPTATION_GRAPH]


def test_another_number_of_steps_does_not_hold(default: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    shutil.copytree(default.folder, folder)
    schedule = dataclasses.replace(default.manifest.schedule, tolerance=1.0)
    write_manifest(folder, dataclasses.replace(default.manifest, schedule=schedule))
    assert not verify(open_bundle(folder)).rows[-1].holds


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


def test_bundles_are_written_with_the_graph(tmp_path: Path) -> None:
    write_bundle(
        tmp_path / "b",
        upright(SPEC, 1),
        upright(SPEC, 2),
        MANIFEST,
        body=load_body(),
        schedule="eft",
    )
    bundle = open_bundle(tmp_path / "b")
    assert ADAPTATION_GRAPH in bundle.manifest.files
    assert bundle.manifest.schedule.name == MANIFEST.schedule.name
    facts = {
        each.key: each.value for each in onnx.load(bundle.path(ADAPTATION_GRAPH)).metadata_props
    }
    assert facts["schedule"] == "eft"
    assert verify(bundle).holds


def test_unknown_schedules(tmp_path: Path) -> None:
    head = upright(SPEC, 1).head
    with pytest.raises(ValueError, match="unknown schedule 'no'"):
        write_adaptation_graph(
            tmp_path / ADAPTATION_GRAPH, head, MANIFEST, load_body(), schedule="no"
        )


def test_uncut_it_builds_as_an_engine(default: Bundle) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    schedule = default.manifest.schedule.schedule(weights=default.manifest.weights)
    problem = GraphProblem.of(torch_head(default), default.manifest, load_body(), schedule)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(adaptation_graph(problem, cut=False).SerializeToString())
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    assert config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    shapes = builder.create_optimization_profile()
    # A number of rounds is to TensorRT a shape.
    shapes.set_shape_input("max_steps", (1,), (14,), (200,))
    assert config.add_optimization_profile(shapes) == 0
    engine = builder.build_serialized_network(network, config)
    assert engine is not None
    assert len(bytes(engine)) > 1e6
