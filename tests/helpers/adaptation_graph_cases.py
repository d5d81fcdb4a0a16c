"""Persons to adapt a small head to, by `adapt` in PyTorch and by a graph in ONNX Runtime."""

import copy
import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import numpy_helper
from torch import Tensor

from dualhmr.adaptation.adapt import Adaptation, adapt
from dualhmr.adaptation.schedule import named_schedule
from dualhmr.body.model import load_body
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.camera import View, image_to_crop
from dualhmr.engines.tensorrt.run import LoadedEngine
from dualhmr.engines.tensorrt.steps import StepEngines
from dualhmr.keypoints import COCO_17, KeypointSet
from dualhmr.networks import HeadOutput, RegressorHead
from dualhmr.objective.objective import Evidence, own_objective
from dualhmr.objective.weights import LossWeights
from dualhmr.person_fitting.tensorrt_fitter import AdaptationSteps
from dualhmr.rotations import rot6d_to_rotmat
from dualhmr_export.adaptation_graph import GraphProblem, TracedProblem, adaptation_graph
from dualhmr_export.adaptation_graph.build import start_graph, step_graph
from helpers.small_bundle import MANIFEST
from helpers.tensorrt_fakes import HostMemory, OnnxEngine, fake_module

BODY = load_body()
FEATURES = 12


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Case:
    """One graph."""

    schedule: str
    iterations: int
    reads_box_info: bool
    camera: str
    tolerance: float = 0.0
    weights: LossWeights = field(default_factory=lambda: LossWeights(vertices=0.0))
    rate: float = 1e-3
    hidden: int = 16

    def head(self) -> RegressorHead:
        torch.manual_seed(5)
        head = RegressorHead(
            FEATURES,
            hidden=self.hidden,
            iterations=self.iterations,
            reads_box_info=self.reads_box_info,
        )
        head.init_pose[0, :6] = torch.tensor([1.0, 0, 0, -1, 0, 0])
        for decoder in (head.decpose, head.decshape, head.deccam):
            torch.nn.init.normal_(decoder.weight, std=0.05)
        return head.eval().requires_grad_(False)

    def problem(self) -> GraphProblem:
        manifest = dataclasses.replace(MANIFEST, camera=self.camera, weights=self.weights)
        schedule = named_schedule(
            self.schedule,
            adam_rate=self.rate,
            descent_rate=0.01,
            descent_max_norm=1.0,
            tolerance=self.tolerance,
        )
        return GraphProblem.of(self.head(), manifest, BODY, schedule)


@dataclass(frozen=True)
class Person:
    """A person's evidence; keypoints are those of `names`, in pixels."""

    names: KeypointSet
    xy: Tensor
    confidence: Tensor
    view: View
    features: Tensor
    box_info: Tensor
    rotations: Tensor
    betas: Tensor

    @staticmethod
    def of(seed: int, names: KeypointSet = COCO_17) -> "Person":
        rng = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=rng)

        view = View(
            torch.tensor([[310.0, 240.0]]),
            torch.tensor([300.0]),
            torch.tensor([800.0]),
            torch.tensor([[320.0, 250.0]]),
        )
        upright = torch.tensor([1.0, 0, 0, -1, 0, 0]) + 0.1 * normal(1, 1, 6)
        limbs = torch.tensor([1.0, 0, 0, 1, 0, 0]) + 0.3 * normal(1, 23, 6)
        confidence = torch.rand(1, len(names), generator=rng)
        xy = view.box_center + 100 * normal(1, len(names), 2)
        missing = torch.arange(len(names)) % 4 == 3
        return Person(
            names,
            xy.masked_fill(missing[:, None], torch.nan),
            confidence * ~missing,
            view,
            normal(1, FEATURES).relu(),
            normal(1, 3),
            rot6d_to_rotmat(torch.cat([upright, limbs], dim=1)),
            normal(1, 10),
        )

    def inputs(self, problem: GraphProblem) -> dict[str, np.ndarray]:
        """For a graph: by its own list of keypoints."""
        in_crop = image_to_crop(self.xy, self.view)
        keypoints = torch.full((1, len(problem.keypoints), 2), torch.nan)
        confidence = torch.zeros(1, len(problem.keypoints))
        for row, name in enumerate(problem.keypoints):
            if name in self.names.names:
                keypoints[:, row] = in_crop[:, self.names.index(name)]
                confidence[:, row] = self.confidence[:, self.names.index(name)]
        arrays = vars(self) | self.view._asdict()
        arrays |= {"keypoints": keypoints, "confidence": confidence}
        return {name: arrays[name].numpy() for name in problem.example}

    def adapt(self, case: Case, problem: GraphProblem, max_steps: int) -> Adaptation:
        """By the reference, in float32."""
        head = case.head()
        objective = own_objective(
            BODY,
            MANIFEST.keypoint_set,
            camera=case.camera,
            weights=case.weights,
            keypoints=keypoint_regressor(BODY, self.names),
        )
        target = objective.target(self.rotations, self.betas)
        in_crop = image_to_crop(self.xy, self.view)
        evidence = Evidence(in_crop, self.confidence, self.view, target)
        read = (self.features, self.box_info if case.reads_box_info else None)

        def losses(parameters: Any, names: Any) -> tuple[dict[str, Tensor], HeadOutput]:
            output: HeadOutput = torch.func.functional_call(head, parameters, read)
            values = objective.losses(output, evidence, names)
            return {name: value[0] for name, value in values.items()}, output

        start = {name: parameter.data for name, parameter in head.named_parameters()}
        return adapt(start, losses, problem.schedule.limited_to(max_steps))


class AdaptingGraph:
    """A case's graph in ONNX Runtime."""

    def __init__(self, case: Case, traced: TracedProblem | None = None) -> None:
        self.case, self.traced = case, traced or TracedProblem(case.problem())
        self.problem = self.traced.problem
        self.model = adaptation_graph(self.traced)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            self.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._names = [output.name for output in self._session.get_outputs()]

    def at_rate(self, rate: float) -> "AdaptingGraph":
        """The same at another rate of Adam, which is one number in what was traced."""
        case = dataclasses.replace(self.case, rate=rate)
        traced = TracedProblem(case.problem())
        vars(traced).update(fragments=[], poses=self.traced.poses, last=self.traced.last)
        own, changed = numpy_helper.from_array(np.float32(self.case.rate)).raw_data, 0
        for fragment in self.traced.fragments:
            graph = copy.deepcopy(fragment.graph)
            for constant in graph.initializer:
                if constant.raw_data == own:
                    constant.CopyFrom(numpy_helper.from_array(np.float32(rate), constant.name))
                    changed += 1
            traced.fragments.append(fragment._replace(graph=graph))
        assert changed == 1
        return AdaptingGraph(case, traced)

    def run(self, inputs: dict[str, np.ndarray], max_steps: int) -> dict[str, np.ndarray]:
        inputs = inputs | {"max_steps": np.array(max_steps, np.int64)}
        return dict(zip(self._names, self._session.run(None, inputs), strict=True))

    @cached_property
    def engines(self) -> list[OnnxEngine]:
        """The graphs of the start and of steps, in a stand-in for TensorRT."""
        phases = range(len(self.problem.schedule.phases))
        models = [start_graph(self.problem), *(step_graph(self.traced, each) for each in phases)]
        return [OnnxEngine(model.SerializeToString()) for model in models]

    @cached_property
    def steps(self) -> AdaptationSteps:
        """What runs them, as CUDA graphs."""
        loaded = [LoadedEngine(None, engine, None) for engine in self.engines]
        trt, memory = fake_module(captures_by_itself=False), HostMemory()
        return AdaptationSteps(
            StepEngines(trt, loaded, memory, cuda_graph=True),
            self.problem.schedule,
            KeypointSet("the graph's", self.problem.keypoints),
            path=Path("adaptation_start.onnx"),
            runs_on="a stand-in",
        )

    def run_steps(self, inputs: dict[str, np.ndarray], max_steps: int) -> dict[str, np.ndarray]:
        return self.steps({**inputs, "max_steps": np.array(max_steps)})._asdict()
