"""A bundle's step graphs in ONNX Runtime, as TensorRT would run them: on state that swaps sides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.bundle import Bundle
from dualhmr.engines import EngineOptions
from dualhmr.engines.frozen_network import provider_for
from dualhmr.engines.onnxruntime_session import open_session, run_session
from dualhmr.engines.tensorrt.steps import AFTER, BEFORE, ROW
from dualhmr.person_fitting.onnx_fitter import OnnxFitter
from dualhmr.person_fitting.tensorrt_fitter import AdaptationSteps, open_adaptation_steps

_State = dict[str, npt.NDArray[np.float32]]


class OnnxSteps:
    """`StepEngines` in ONNX Runtime on the CPU.

    A step reads one side of the state and writes the other, as engines do. What a step does not
    write stays on its side as it was, and what nobody has written is NaN.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises ValueError for a file that is damaged or no step."""
        settings: dict[str, Any] = {"device_index": 0, "precision": "fp32"}
        settings |= {"options": EngineOptions(), "provider": provider_for(None, "cpu")}
        self._paths = paths
        self._sessions = [open_session(path, **settings) for path in paths]
        self._shapes = [
            {node.name: tuple(node.shape) for node in session.get_inputs()}
            for session in self._sessions
        ]
        self._writes = [[node.name for node in each.get_outputs()] for each in self._sessions]
        self.row_size = self._find_row_size()
        self._inputs: Mapping[str, npt.NDArray[Any]] = {}
        self._state: tuple[_State, _State] = ({}, {})
        self._side, self._history = 0, np.empty((0, 0), np.float32)

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs."""
        names = (name for own in self._shapes for name in own if not name.startswith(BEFORE))
        return tuple(dict.fromkeys(names))

    def begin(self, inputs: Mapping[str, npt.NDArray[Any]], rows: int) -> None:
        """Takes `inputs`, and makes room for a history of `rows`."""
        self._inputs = {name: np.asarray(inputs[name], np.float32) for name in self.reads}
        self._history = np.full((rows, self.row_size), np.nan, np.float32)

    def run(self, number: int, *, row: int | None = None, cleared: bool = False) -> None:
        """Runs graph `number`; see `StepEngines.run`."""
        before, after = self._state[self._side], self._state[1 - self._side]
        arrays = {}
        for name, shape in self._shapes[number].items():
            buffer = name.removeprefix(BEFORE)
            if buffer == name:
                arrays[name] = self._inputs[name]
            elif cleared and AFTER + buffer not in self._writes[0]:
                arrays[name] = np.zeros(shape, np.float32)
            else:
                arrays[name] = before.get(buffer, np.full(shape, np.nan, np.float32))
        run, writes = self._sessions[number].run, self._writes[number]
        outputs = dict(
            zip(writes, run_session(self._paths[number], run, writes, arrays), strict=True)
        )
        if row is not None:
            self._history[row] = outputs[ROW]
        after |= {n.removeprefix(AFTER): each for n, each in outputs.items() if n != ROW}
        self._side = 1 - self._side

    def rows(self, start: int, end: int) -> npt.NDArray[np.float32]:
        """Rows of the history."""
        return self._history[start:end]

    def _find_row_size(self) -> int:
        sizes = []
        for path, session in zip(self._paths[1:], self._sessions[1:], strict=True):
            shapes = [node.shape for node in session.get_outputs() if node.name == ROW]
            if not shapes or not isinstance(shapes[0][-1], int):
                raise ValueError(f"{path} is no step of an adaptation: it has no {ROW} (1, R)")
            sizes.append(shapes[0][-1])
        return max(sizes)


class OnnxStepFitter(OnnxFitter):
    """A `PersonFitter` that runs a bundle's step graphs in ONNX Runtime, to compare them."""

    def _open(self, bundle: Bundle, device: str, options: EngineOptions) -> AdaptationSteps:
        def open_steps(paths: Sequence[Path], **_settings: object) -> tuple[OnnxSteps, str]:
            return OnnxSteps(paths), "onnxruntime, step by step"

        return open_adaptation_steps(bundle, device, options, open_engines=open_steps)
