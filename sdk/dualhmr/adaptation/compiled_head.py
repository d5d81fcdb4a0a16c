"""`adapt` for an affine iterative head, without PyTorch: compiled loops over NumPy arrays.

The reference is `dualhmr.adaptation.adapt`; tests compare the two. The head and its structure are
those of `dualhmr.adaptation.fast_head`. Here one person is adapted in place, in memory that is kept
for the next one: pages that the system maps anew cost as much as a few steps.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dualhmr.adaptation.compiled_loops import gradient_buffer, step_numbers, take_step
from dualhmr.adaptation.head_iterations import (
    HeadIterations,
    IterationsAtOnce,
    Matrices,
    row_pieces,
)
from dualhmr.adaptation.input_quadrature import InputOutput
from dualhmr.adaptation.optimisers import Adam, GradientDescent, Optimiser
from dualhmr.adaptation.recorder import AdaptationResult, Recorder
from dualhmr.adaptation.schedule import PlannedStep, Schedule, planned_steps
from dualhmr.compiling import WorkerThreads

Array = npt.NDArray[Any]
_PADDING = 80
"""Numbers between arrays, so that they do not compete for the same lines of the cache."""
_LARGE = 512
"""Hidden units from which on matrices leave a core's cache."""
_MANY = 5
"""Iterations from which on they are faster at once, in a large head."""


class Evaluate(Protocol):
    """L losses of an estimate (E,), and the gradient (E,) of some of them."""

    def wanted(self, names: Collection[str] | None) -> Array:
        """(L,), 1 for the losses of these names (None: all), else 0; ValueError if none is left."""
        ...

    def __call__(self, estimate: Array, minimised: Array, wanted: Array) -> tuple[Array, Array]:
        """The losses (L,), of which those that are `wanted` or `minimised` count, and the gradient
        of the sum of those that are minimised."""
        ...


class HeadMemory(NamedTuple):
    """Matrices of one person, and Adam's moments."""

    values: Matrices
    means: Matrices
    squares: Matrices


@dataclass(frozen=True)
class CompiledHead:
    """A network's head, before adaptation; the same for all persons."""

    on_input: Array
    """(H, G + 1) or, without hidden layers, (E, G + 1): what reads the input, and its bias."""
    matrices: Matrices
    start: Array
    """(E,), the estimate before the first iteration."""
    iterations: int
    slope: tuple[Array, Array] | None = None
    """D W2 W1 (E, E) and its transpose, if the iterations are to be computed at once."""
    _spare: list[HeadMemory] = field(default_factory=list, repr=False, compare=False)
    """Memory that no person uses now; lists are safe to share among threads."""

    @staticmethod
    def from_parameters(
        parameters: Mapping[str, Array],
        *,
        start: Array,
        iterations: int,
        decoders: Sequence[str] = ("decpose", "decshape", "deccam"),
    ) -> "CompiledHead":
        """From weights and biases of the linear layers `fc1`, `fc2` and `decoders`.

        Without hidden layers they are those of `decoders` alone. fc1's last E columns read the
        estimate. All are of one type, float32 or float64.
        """
        decode = np.concatenate([parameters[f"{name}.weight"] for name in decoders])
        decode_bias = np.concatenate([parameters[f"{name}.bias"] for name in decoders])
        if "fc1.weight" not in parameters:
            on_input = np.concatenate([decode, decode_bias[:, None]], axis=1)
            return CompiledHead(on_input, (), start, iterations)
        fc1, bias = parameters["fc1.weight"], parameters["fc1.bias"]
        on_input = np.concatenate([fc1[:, : -len(start)], bias[:, None]], axis=1)
        matrices = (
            fc1[:, -len(start) :].T,
            parameters["fc2.weight"],
            decode,
            parameters["fc2.bias"][None],
            decode_bias[None],
        )
        # Compiled loops do not take arrays that cannot be written.
        own = tuple(np.array(matrix, order="C") for matrix in matrices)
        slope = None
        if len(fc1) >= _LARGE and iterations >= _MANY:
            product = decode @ parameters["fc2.weight"] @ fc1[:, -len(start) :]
            slope = (product, product.T.copy())
        return CompiledHead(on_input, own, start, iterations, slope)

    def adapt(
        self,
        head_input: Array,
        evaluate: Evaluate,
        schedule: Schedule,
        *,
        output: Callable[[Array], object] = lambda estimate: estimate,
        in_place: bool = False,
        workers: WorkerThreads | None = None,
    ) -> AdaptationResult:
        """The result of `adapt` on the head's parameters, for one person.

        `head_input` (G,) is features, and box info for CLIFF. `output` maps an estimate (E,) to
        what `AdaptationResult.outputs` keeps of it. With `in_place` this head, which must be a
        `copy`, becomes that of the step `best_step`. `workers` share the work on a large head; the
        result does not depend on them. Raises ValueError where `adapt` does, and for an input that
        does not fit the head; TypeError for an optimiser other than Adam and GradientDescent.
        """
        values, workers = self._values(head_input), workers or WorkerThreads(1)
        memory = self._spare.pop() if self._spare else self._memory()
        try:
            adaptation = _Adaptation(self, values, memory, workers, in_place=in_place)
            return adaptation.run(evaluate, schedule, output)
        finally:
            self._spare.append(memory)

    def copy(self) -> "CompiledHead":
        """A head with the same numbers, in memory of its own."""
        matrices = tuple(matrix.copy() for matrix in self.matrices)
        return replace(self, on_input=self.on_input.copy(), matrices=matrices)

    def first_estimate(self, head_input: Array) -> Array:
        """The head's output (E,) before any step."""
        values, alone = self._values(head_input), WorkerThreads(1)
        return _Adaptation(self, values, self._memory(), alone).forward()

    def _values(self, head_input: Array) -> Array:
        """(G + 1,): the input, and a 1 for the bias."""
        if head_input.shape != (expected := (self.on_input.shape[1] - 1,)):
            raise ValueError(f"the head's input is {head_input.shape}, expected {expected}")
        return np.append(head_input, head_input.dtype.type(1))

    def _memory(self) -> HeadMemory:
        sizes = [matrix.size + _PADDING for matrix in self.matrices]
        flat = iter(np.split(np.zeros(3 * sum(sizes), self.start.dtype), np.cumsum(3 * sizes)))
        return HeadMemory(
            *(
                tuple(next(flat)[: matrix.size].reshape(matrix.shape) for matrix in self.matrices)
                for _ in HeadMemory._fields
            )
        )


class _Adaptation:
    """The state of one person's adaptation."""

    def __init__(
        self,
        head: CompiledHead,
        values: Array,
        memory: HeadMemory,
        workers: WorkerThreads,
        *,
        in_place: bool = False,
    ) -> None:
        """`values` (G + 1,) are the head's input, and a 1; `in_place`, `head` is changed."""
        self._head, self._memory, self._workers = head, memory, workers
        self._in_place = in_place
        self._matrices = head.matrices
        self._input = InputOutput(head.on_input, values)
        n, hidden = head.iterations, len(head.on_input) if head.matrices else 0
        self._iterations = (
            IterationsAtOnce(head.start, n, hidden, head.slope, workers)
            if head.slope
            else HeadIterations(head.start, n, hidden)
        )
        self._gradient = np.empty(0)

    def run(
        self, evaluate: Evaluate, schedule: Schedule, output: Callable[[Array], object]
    ) -> AdaptationResult:
        """Takes the steps of a schedule."""
        result = self._take_steps(evaluate, schedule, output)
        if self._in_place:
            self._input.write_to(self._head.on_input, result.best_step)
        return result

    def _take_steps(
        self, evaluate: Evaluate, schedule: Schedule, output: Callable[[Array], object]
    ) -> AdaptationResult:
        recorder, watched_phase = Recorder(schedule), schedule.watched
        watched = evaluate.wanted(watched_phase.losses)
        minimised = {phase: evaluate.wanted(phase.losses) for phase in schedule.phases}
        for planned in planned_steps(schedule):
            if planned.final or recorder.stop_reason:
                break
            phase = planned.phase
            estimate, own = self.forward(), minimised[phase]
            losses, gradient = evaluate(estimate, own, watched)
            if phase.scale != 1:
                gradient = gradient.dtype.type(phase.scale) * gradient
            finite = self._backward(gradient)
            loss = _sum(losses, watched, watched_phase.scale) if finite else math.nan
            minimised_loss = _sum(losses, own, phase.scale)
            self._keep(recorder.record(loss, output(estimate), planned, minimised_loss))
            if recorder.finished:
                return recorder.result()
            self._update(planned, phase.optimiser)
        estimate = self.forward()
        losses, _ = evaluate(estimate, watched, watched)
        loss = _sum(losses, watched, watched_phase.scale)
        self._keep(recorder.record(loss, output(estimate), planned, loss))
        return recorder.result()

    def _keep(self, best: bool) -> None:
        """Copies the matrices of the best iterate so far into the head, if it is to be changed."""
        if best and self._in_place and self._matrices is not self._head.matrices:
            for target, matrix in zip(self._head.matrices, self._matrices, strict=True):
                target[:] = matrix

    def forward(self) -> Array:
        """The estimate (E,), a copy."""
        if self._matrices:
            return self._iterations.forward(self._matrices, self._input.value)
        # Every iteration adds the same.
        return self._head.start + self._head.iterations * self._input.value

    def _backward(self, gradient: Array) -> bool:
        """Whether the gradients are finite, from that of the estimate."""
        if not self._matrices:
            self._gradient = self._head.iterations * gradient
            return bool(np.isfinite(self._gradient.sum()))
        finite = self._iterations.backward(self._matrices, gradient)
        # The input is the same in all iterations, so this is a single outer product with it.
        self._gradient = self._iterations.grad_hidden1[:, : len(self._head.on_input)].sum(0)
        return finite

    def _update(self, planned: PlannedStep, optimiser: Optimiser) -> None:
        fresh = planned.updates == 0
        if isinstance(optimiser, Adam):
            coefficients = optimiser.coefficients(planned.updates)
            self._input.adam_step(self._gradient, coefficients, fresh=fresh)
            beta1, beta2, rate, epsilon = coefficients
            self._take_step(beta1, beta2, rate, epsilon, descends=False, fresh=fresh)
        elif isinstance(optimiser, GradientDescent):
            rate = optimiser.learning_rate
            if optimiser.max_norm is not None:
                squared = max(self._squared_norm(), float(np.finfo(self._gradient.dtype).tiny))
                rate *= min(optimiser.max_norm / math.sqrt(squared), 1.0)
            self._input.descend(self._gradient, rate)
            self._take_step(0.0, 0.0, rate, 0.0, descends=True, fresh=False)
        else:
            raise TypeError(f"a compiled step is by Adam or GradientDescent, got {optimiser!r}")

    def _take_step(self, *coefficients: Any, descends: bool, fresh: bool) -> None:
        if not self._matrices:
            return
        numbers = step_numbers(*coefficients, dtype=self._gradient.dtype)
        copies = self._matrices is not self._memory.values
        products = self._outer_products()
        # The rows of fc2, the second matrix, are a few pieces of work, all others one more.
        ends = (
            row_pieces(len(self._matrices[1])) if self._head.slope else [0, len(self._matrices[1])]
        )
        parts = [[(1, start, end)] for start, end in pairwise(ends)]
        parts.append([(i, 0, len(self._matrices[i])) for i in (0, 2, 3, 4)])

        def one(part: int) -> None:
            for i, start, end in parts[part]:
                own = (self._matrices[i], *(each[i] for each in self._memory), *products[i])
                buffer = gradient_buffer(own[0])
                take_step(*own, buffer, numbers, descends, fresh, copies, start, end)

        self._workers.run(one, len(parts))
        self._matrices = self._memory.values

    def _outer_products(self) -> tuple[tuple[Array, Array], ...]:
        """left (n, R) and right (n, C) of each matrix, whose gradient is left^T right."""
        estimates, hidden1, hidden2, grad_estimates, grad_hidden1, grad_hidden2 = (
            self._iterations.all
        )
        ones = np.ones((len(grad_estimates), 1), estimates.dtype)
        return (
            (estimates[:-1], grad_hidden1),
            (grad_hidden2, hidden1),
            (grad_estimates, hidden2),
            (ones, grad_hidden2),
            (ones, grad_estimates),
        )

    def _squared_norm(self) -> float:
        """Of all gradients together: sum_ij (left_i . left_j) (right_i . right_j) of each."""
        own = float(self._gradient @ self._gradient) * self._input.squared_norm
        products = self._outer_products() if self._matrices else ()
        grams = (((left @ left.T) * (right @ right.T)).sum() for left, right in products)
        return own + float(sum(grams))


def _sum(losses: Array, counted: Array, scale: float) -> float:
    """Of a few numbers, for which NumPy is slow; one that does not count may be NaN."""
    pairs = zip(losses.tolist(), counted.tolist(), strict=True)
    return scale * float(sum(loss for loss, counts in pairs if counts))
