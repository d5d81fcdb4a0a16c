"""How far adapting by a bundle's `adaptation.onnx` is from adapting by PyTorch, on real people."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.adaptation import Schedule, adapt
from dualhmr.body import Body, pose_skeleton, skin_vertices
from dualhmr.bundle import Bundle
from dualhmr.engines import open_networks, torch_head
from dualhmr.engines.onnxruntime_session import load_onnxruntime
from dualhmr.networks import HeadOutput, RegressorHead
from dualhmr.person import AdaptedPerson, PersonEvidence, describe
from dualhmr.person_adapter import PersonAdapter
from dualhmr_export.adaptation_graph import FILE, MAX_STEPS
from dualhmr_export.parity import Difference
from dualhmr_export.parity_inputs import real_people

BOUND_MM = 0.1
"""Of any vertex of anybody, where they stand before the camera."""


class AdaptationGraph:
    """A file `adaptation.onnx` in ONNX Runtime on the CPU."""

    def __init__(self, bundle: Bundle) -> None:
        """Opens that of a bundle. Raises ImportError without ONNX Runtime."""
        settings = load_onnxruntime().SessionOptions()
        settings.log_severity_level = 3
        self._session = load_onnxruntime().InferenceSession(
            str(bundle.path(FILE)), settings, providers=["CPUExecutionProvider"]
        )
        self._facts = self._session.get_modelmeta().custom_metadata_map
        self._reads = [each.name for each in self._session.get_inputs()]
        self._makes = [each.name for each in self._session.get_outputs()]

    @property
    def schedule(self) -> str:
        """The name of the schedule that it follows."""
        return str(self._facts["schedule"])

    def adapt(self, known: PersonEvidence, max_steps: int) -> dict[str, npt.NDArray[Any]]:
        """Outputs by name, for one person."""
        inputs = self._inputs(known) | {MAX_STEPS: np.array(max_steps, np.int64)}
        given = {name: inputs[name] for name in self._reads}
        return dict(zip(self._makes, self._session.run(None, given), strict=True))

    def _inputs(self, known: PersonEvidence) -> dict[str, npt.NDArray[Any]]:
        evidence, names = known.evidence, known.seen.keypoint_set.names
        listed = self._facts["keypoints"].split(",")
        keypoints = torch.zeros(1, len(listed), 2)
        confidence = torch.zeros(1, len(listed))
        for row, name in enumerate(listed):
            if name in names:
                keypoints[:, row] = evidence.keypoints[:, names.index(name)]
                confidence[:, row] = evidence.confidence[:, names.index(name)]
        inputs = {"features": known.features, "keypoints": keypoints, "confidence": confidence}
        inputs |= evidence.view._asdict()
        if "box_info" in known.inputs:
            inputs["box_info"] = known.inputs["box_info"]
        if evidence.target is not None:
            inputs |= {"rotations": evidence.target.rotations, "betas": evidence.target.betas}
        return {name: tensor.numpy() for name, tensor in inputs.items()}


def adaptation_difference(bundle: Bundle, body: Body) -> Difference:
    """Adapts to the example's people both ways, and compares the bodies that were found.

    Where the numbers of steps differ it does not hold, however close the bodies are.
    """
    graph, head = AdaptationGraph(bundle), torch_head(bundle).requires_grad_(False)
    schedule = bundle.manifest.schedule.schedule(graph.schedule)
    networks = open_networks(bundle, "torch", device="cpu")
    adapter = PersonAdapter(bundle, body, networks, device="cpu", scope="head")
    distances, relatives, same_steps = [], [], True
    for image, seen in real_people():
        known = adapter.look(image, seen)
        reference = _by_pytorch(head, known, schedule)
        found = graph.adapt(known, schedule.max_steps)
        losses = found["losses"]
        same_steps &= len(losses) == reference.adaptation.steps + 1
        expected = _placed_mm(
            body, reference.rotations, reference.betas, translation=reference.translation
        )
        best = int(losses.argmin())
        steps = ("step_rotations", "step_betas", "step_translation")
        rotations, betas, translation = (found[name][best] for name in steps)
        away = _placed_mm(body, rotations, betas, translation=translation) - expected
        distances.append(float(away.norm(dim=-1).max()))
        relatives.append(float(away.norm() / (expected - expected.mean(0)).norm()))
    distance = float(np.max(distances))
    return Difference(
        FILE,
        "vertices after adaptation, mm",
        distance,
        float(np.max(relatives)),
        BOUND_MM,
        holds=same_steps and distance <= BOUND_MM,
    )


def _by_pytorch(head: RegressorHead, known: PersonEvidence, schedule: Schedule) -> AdaptedPerson:
    """By `adapt`, the definition."""
    read = (known.features, known.inputs["box_info"] if head.reads_box_info else None)

    def losses(parameters: Any, names: Any) -> tuple[dict[str, Tensor], HeadOutput]:
        output: HeadOutput = torch.func.functional_call(head, parameters, read)
        values = known.objective.losses(output, known.evidence, names)
        return {name: value[0] for name, value in values.items()}, output

    return describe(known, adapt(dict(head.named_parameters()), losses, schedule))


def _placed_mm(body: Body, *parameters: Any, translation: Any) -> Tensor:
    """(V, 3)."""
    rotations, betas = (torch.as_tensor(each)[None] for each in parameters)
    vertices = skin_vertices(body, pose_skeleton(body, rotations, betas))[0]
    return 1000 * (vertices + torch.as_tensor(translation))
