"""The kernel of the objective, compiled as C++ and run, against the gradient in PyTorch."""

from dataclasses import replace

import pytest
import torch
from helpers.cpp_kernels import THREADS, cpp_kernel
from helpers.gradient_cases import (
    WEIGHTS,
    check_close,
    make_estimate,
    make_evidence,
    make_objective,
    moved,
)

from dualhmr.adaptation.fast_head.cuda_kernels import CudaKernels, KernelVariant
from dualhmr.objective.gradient import ObjectiveGradient
from dualhmr.objective.gradient.cuda_objective import LOSSES, CudaObjective
from dualhmr.objective.objective import Evidence, Objective

KERNELS = CudaKernels(cpp_kernel)
MINIMISED = (None, *((name,) for name in LOSSES), ("joints_3d", "camera"))


def cases(
    body: str = "stick",
    camera: str = "cliff",
    *,
    dtype: torch.dtype = torch.float64,
    vertices: float = 0.0,
) -> tuple[Objective, Evidence]:
    objective = make_objective(body, camera).weighted(replace(WEIGHTS, vertices=vertices))
    evidence = make_evidence(objective, 3)
    if dtype != torch.float64:
        objective = make_objective(body, camera, dtype=dtype).weighted(
            replace(WEIGHTS, vertices=0.0)
        )
        evidence = moved(evidence, lambda x: x.to(dtype) if x.is_floating_point() else x)
    return objective, evidence


@pytest.mark.parametrize("camera", ["cliff", "hmr"])
@pytest.mark.parametrize("body", ["stick", "free", "smpl"])
def test_as_in_pytorch(body: str, camera: str) -> None:
    objective, evidence = cases(body, camera)
    other = moved(evidence, lambda x: 0.9 * x if x.is_floating_point() else x)
    mine = CudaObjective(objective, other, KERNELS).with_evidence(evidence)
    plain, estimate = ObjectiveGradient(objective, evidence), make_estimate(3)
    for losses in MINIMISED:
        for also in (None, (), ("betas",)):
            found, expected = (each(estimate, losses, also) for each in (mine, plain))
            check_close(found, expected, within=1e-10)


def test_with_vertices() -> None:
    objective, evidence = cases("free", vertices=WEIGHTS.vertices)
    mine = CudaObjective(objective, evidence._replace(target=None), KERNELS)
    mine, plain = mine.with_evidence(evidence), ObjectiveGradient(objective, evidence)
    estimate = make_estimate(3)
    for losses in (None, ("vertices",), ("vertices", "betas"), ("keypoints_2d",)):
        for also in (None, ()):
            found, expected = (each(estimate, losses, also) for each in (mine, plain))
            check_close(found, expected, within=1e-10)


def test_in_single_precision_with_other_numbers_of_threads_and_memory() -> None:
    objective, evidence = cases(dtype=torch.float32)
    estimate, within = make_estimate(3).float(), 1e-5
    expected = ObjectiveGradient(objective, evidence)(estimate)
    found = []
    for threads, shared in ((1, True), (THREADS, True), (1, False)):

        def compiled(variant: KernelVariant, threads: int = threads) -> object:
            return cpp_kernel(variant, threads=threads)

        mine = CudaObjective(objective, evidence, CudaKernels(compiled))  # type: ignore[arg-type]
        if not shared:
            mine.keep_in_memory()
        found.append(mine(estimate))
        check_close(found[-1], expected, within=within)
    for other in found[1:]:
        assert torch.equal(other[1], found[0][1])


def test_what_is_missing() -> None:
    """No target; no annotated betas; positions that do not count, even NaN."""
    objective, evidence = cases()
    estimate = make_estimate(3)
    assert evidence.target is not None
    flags = torch.tensor([True, False, True])
    for changed, losses in (
        (evidence._replace(target=None), ("keypoints_2d", "camera")),
        (evidence._replace(target=evidence.target._replace(annotated=flags)), None),
        (evidence._replace(target=evidence.target._replace(betas_annotated=flags)), None),
        (
            evidence._replace(
                keypoints=torch.where(
                    evidence.confidence[..., None] > 0, evidence.keypoints, torch.nan
                )
            ),
            None,
        ),
    ):
        found, expected = (
            each(estimate, losses)
            for each in (
                CudaObjective(objective, changed, KERNELS),
                ObjectiveGradient(objective, changed),
            )
        )
        check_close(found, expected, within=1e-10)
    with pytest.raises(ValueError, match="the evidence has no target"):
        CudaObjective(objective, evidence._replace(target=None), KERNELS)(estimate)


def test_nothing_to_minimise() -> None:
    nothing = cases()[0].weighted(replace(WEIGHTS, vertices=0.0, betas=0.0))
    with pytest.raises(ValueError, match="no loss to minimise"):
        CudaObjective(nothing, cases()[1], KERNELS)(make_estimate(3), ("betas",))


def test_the_target_that_a_capture_may_make() -> None:
    objective, evidence = cases("free")
    gradient, target = ObjectiveGradient(objective, evidence), evidence.target
    assert target is not None
    made = gradient.target(target.rotations, target.betas)
    estimate = make_estimate(3)
    found = ObjectiveGradient(objective, evidence._replace(target=made))(estimate)
    check_close(found, gradient(estimate), within=1e-10)
