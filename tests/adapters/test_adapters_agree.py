"""The interface of `adaptation.onnx`, computed by PyTorch in its place: adapters then agree."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dualhmr import Body, Recoverer
from dualhmr.adaptation import adapt
from dualhmr.adapters import onnx_adapter
from dualhmr.adapters.adaptation_graph import STOP_REASONS, GraphOutputs
from dualhmr.adapters.onnx_adapter import OnnxAdapter
from dualhmr.body import keypoint_regressor, pose_skeleton
from dualhmr.bundle import Bundle, open_bundle
from dualhmr.camera import View, project
from dualhmr.engines import EngineOptions
from dualhmr.engines.torch_networks import torch_head
from dualhmr.example import example
from dualhmr.keypoints import BODY_25, HALPE_26, Keypoints, KeypointSet
from dualhmr.objective import Evidence
from dualhmr.own_objective import own_objective

KNOWN = KeypointSet("known", tuple(dict.fromkeys(BODY_25.names + HALPE_26.names)))


class GraphInPyTorch:
    """What `AdaptationGraph` is to the adapter."""

    runs_on = "a stand-in"
    keypoint_set = KNOWN

    def __init__(self, bundle: Bundle, body: Body) -> None:
        self.schedule = bundle.manifest.schedule.name
        self._bundle, self._body = bundle, body
        self._head = torch_head(bundle).requires_grad_(False)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> GraphOutputs:
        given = {name: torch.from_numpy(np.array(array)) for name, array in inputs.items()}
        manifest = self._bundle.manifest
        objective = own_objective(
            self._body,
            manifest.keypoint_set,
            camera=manifest.camera,
            weights=manifest.weights,
            keypoints=keypoint_regressor(self._body, KNOWN),
        )
        view = View(*(given[name] for name in View._fields))
        target = objective.target(given["rotations"], given["betas"])
        evidence = Evidence(given["keypoints"], given["confidence"], view, target)
        box_info = given["box_info"] if manifest.main.head_reads_box_info else None

        def losses(parameters: dict[str, Tensor], names: Any) -> tuple[dict[str, Tensor], Any]:
            arguments = (given["features"], box_info)
            output = torch.func.functional_call(self._head, parameters, arguments)
            values = objective.losses(output, evidence, names)
            return {name: value[0] for name, value in values.items()}, output

        schedule = manifest.schedule.schedule().limited_to(int(given["max_steps"]))
        course = adapt(dict(self._head.named_parameters()), losses, schedule)
        heads: list[Any] = list(course.outputs)
        rotations, betas = (
            torch.cat([part(head) for head in heads])
            for part in (lambda head: head.rotations, lambda head: head.betas)
        )
        camera = objective.camera(torch.cat([head.camera for head in heads]), view)
        keypoints = project(
            objective.points(pose_skeleton(self._body, rotations, betas))[0], camera
        )
        keypoints[:, ~objective.available] = torch.nan
        rows = (
            torch.tensor(course.loss_history),
            rotations,
            betas,
            camera.translation,
            keypoints,
            camera.focal_length.expand(len(heads)),
            camera.principal_point.expand(len(heads), 2),
            torch.tensor(STOP_REASONS.index(course.stop_reason)),
        )
        return GraphOutputs(*(row.numpy() for row in rows))


@pytest.fixture(scope="module")
def reference() -> Recoverer:
    return Recoverer(adaptation="torch")


def in_set(target: KeypointSet) -> Keypoints:
    given = example()[1]
    rows = [given.set.names.index(n) if n in given.set.names else None for n in target.names]
    xy = [np.zeros(2) if row is None else given.xy[0, row] for row in rows]
    confidence = [0.0 if row is None else given.confidence[0, row] for row in rows]
    return Keypoints(target, np.float32([xy]), np.float32([confidence]))


@pytest.mark.parametrize("target", [example()[1].set, BODY_25, HALPE_26], ids=lambda s: s.name)
@pytest.mark.parametrize("max_steps", [0, 14])
def test_adapters_agree(
    reference: Recoverer,
    target: KeypointSet,
    max_steps: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = open_bundle()
    graph = GraphInPyTorch(bundle, Body.from_arrays(reference.body))
    monkeypatch.setattr(onnx_adapter, "AdaptationGraph", lambda *_, **__: graph)
    monkeypatch.setitem(bundle.manifest.files, "adaptation.onnx", "")
    ours = Recoverer(bundle, adaptation="torch")
    ours._adapter = OnnxAdapter(bundle, device="cpu", options=EngineOptions())
    photo = example()[0]
    found, expected = (
        each.recover(photo, in_set(target), max_steps=max_steps) for each in (ours, reference)
    )
    assert found.loss_history[0] == pytest.approx(expected.loss_history[0], rel=1e-5)
    assert found.stop_reason == expected.stop_reason
    assert found.best_step.tolist() == expected.best_step.tolist()
    np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-4)
    np.testing.assert_allclose(found.keypoints_2d, expected.keypoints_2d, atol=0.05)
    np.testing.assert_allclose(found.reprojection_px, expected.reprojection_px, atol=0.05)
