import numpy as np
import pytest
import torch
from torch import Tensor

from dualhmr.networks import HeadOutput, RegressorHead

FEATURES, HIDDEN = 11, 17


def make_head(*, iterations: int = 3, reads_box_info: bool = True) -> RegressorHead:
    torch.manual_seed(0)
    head = RegressorHead(
        FEATURES, hidden=HIDDEN, iterations=iterations, reads_box_info=reads_box_info
    )
    # Larger than the initial ones, so that corrections can be seen.
    for layer in (head.decpose, head.decshape, head.deccam):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return head.double().eval()


def make_inputs(persons: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(persons, FEATURES, generator=generator, dtype=torch.float64)
    return features, torch.randn(persons, 3, generator=generator, dtype=torch.float64)


def reference(head: RegressorHead, given: Tensor) -> np.ndarray:
    """The loop as the release has it, one person and one matrix at a time."""
    weights = {name: tensor.numpy() for name, tensor in head.state_dict().items()}

    def layer(name: str, x: np.ndarray) -> np.ndarray:
        return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]

    results = []
    for person in given.numpy():
        pose, shape, cam = (weights[f"init_{name}"][0] for name in ("pose", "shape", "cam"))
        for _ in range(head.iterations):
            x = layer("fc2", layer("fc1", np.concatenate([person, pose, shape, cam])))
            pose = pose + layer("decpose", x)
            shape = shape + layer("decshape", x)
            cam = cam + layer("deccam", x)
        results.append(np.concatenate([pose, shape, cam]))
    return np.stack(results)


def flat(output: HeadOutput) -> np.ndarray:
    return torch.cat(output, dim=1).detach().numpy()


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize("reads_box_info", [False, True])
def test_equals_the_loop_written_out(iterations: int, reads_box_info: bool) -> None:
    head = make_head(iterations=iterations, reads_box_info=reads_box_info)
    features, box_info = make_inputs()
    if reads_box_info:
        output, given = head(features, box_info), torch.cat([features, box_info], dim=1)
    else:
        output, given = head(features), features
    assert [tuple(part.shape) for part in output] == [(4, 144), (4, 10), (4, 3)]
    np.testing.assert_allclose(flat(output), reference(head, given), rtol=1e-12, atol=1e-12)


def test_is_affine_in_its_input() -> None:
    head = make_head()
    (first, second), (first_box, second_box) = (x.split(2) for x in make_inputs())
    mixed = head(0.3 * first + 0.7 * second, 0.3 * first_box + 0.7 * second_box)
    expected = 0.3 * flat(head(first, first_box)) + 0.7 * flat(head(second, second_box))
    np.testing.assert_allclose(flat(mixed), expected, rtol=1e-12, atol=1e-12)


def test_gradients_reach_every_parameter() -> None:
    head = make_head(iterations=2)
    features, box_info = make_inputs(persons=2)
    parameters = dict(head.named_parameters())
    few = {name: parameters[name] for name in ("fc1.weight", "fc2.bias", "deccam.weight")}

    def run(*values: Tensor) -> Tensor:
        output = torch.func.functional_call(
            head, dict(zip(few, values, strict=True)), (features, box_info)
        )
        return torch.cat(output, dim=1)[:, ::20]

    assert torch.autograd.gradcheck(run, tuple(few.values()), fast_mode=True)
    torch.cat(head(features, box_info), dim=1).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in head.parameters())


def test_heads_of_several_persons_under_vmap() -> None:
    head = make_head()
    features, box_info = make_inputs(persons=3)
    scales = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    own = {
        name: scales.reshape(3, *[1] * tensor.ndim) * tensor
        for name, tensor in head.named_parameters()
    }

    def run(weights: dict[str, Tensor], feature: Tensor, box: Tensor) -> Tensor:
        return torch.cat(torch.func.functional_call(head, weights, (feature[None], box[None])), 1)

    together = torch.func.vmap(run)(own, features, box_info)
    for person in range(3):
        weights = {name: tensor[person] for name, tensor in own.items()}
        alone = run(weights, features[person], box_info[person])
        torch.testing.assert_close(together[person], alone)


def test_a_new_head_starts_at_rest() -> None:
    head = RegressorHead(FEATURES, iterations=3, reads_box_info=False).eval()
    for layer in (head.decpose, head.decshape, head.deccam):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    pose_6d, betas, camera = head(torch.ones(2, FEATURES))
    columns = pose_6d.reshape(2, 24, 3, 2)
    torch.testing.assert_close(columns, torch.eye(3)[:, :2].expand(2, 24, 3, 2))
    assert betas.count_nonzero() == 0
    assert camera.tolist() == torch.tensor([[0.9, 0.0, 0.0]] * 2).tolist()


def test_decoders_start_small() -> None:
    head = RegressorHead(FEATURES, iterations=3, reads_box_info=False)
    bound = 0.01 * (6 / (1024 + 144)) ** 0.5
    assert 0.9 * bound < head.decpose.weight.abs().max() <= bound


def test_mean_pose_is_the_start() -> None:
    mean_pose = torch.arange(144.0).reshape(24, 6)
    head = RegressorHead(FEATURES, iterations=1, reads_box_info=False, mean_pose=mean_pose)
    assert head.init_pose.tolist() == [list(range(144))]


def test_dropout_acts_in_training_only() -> None:
    head = make_head(reads_box_info=False)
    features, _ = make_inputs()
    assert (flat(head(features)) == flat(head(features))).all()
    head.train()
    assert (flat(head(features)) != flat(head(features))).any()


def test_box_info_must_come_exactly_if_read() -> None:
    features, box_info = make_inputs()
    with pytest.raises(ValueError, match="box_info is missing"):
        make_head(reads_box_info=True)(features)
    with pytest.raises(ValueError, match="box_info was given"):
        make_head(reads_box_info=False)(features, box_info)


def test_refuses_what_cannot_be_meant() -> None:
    with pytest.raises(ValueError, match="takes 11 features, got \\(4, 10\\)"):
        make_head(reads_box_info=False)(make_inputs()[0][:, :-1])
    with pytest.raises(ValueError, match="at least one iteration, got 0"):
        make_head(iterations=0)
    with pytest.raises(ValueError, match=r"144 numbers .* got shape \(6,\)"):
        RegressorHead(1, iterations=1, reads_box_info=False, mean_pose=torch.zeros(6))


def test_rotations_are_those_of_the_6d_pose() -> None:
    output = make_head()(*make_inputs())
    rotations = output.rotations
    assert rotations.shape == (4, 24, 3, 3)
    first = torch.nn.functional.normalize(output.pose_6d.view(4, 24, 3, 2)[..., 0], dim=-1)
    torch.testing.assert_close(rotations[..., 0], first)
    identity = torch.eye(3).to(rotations).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.mT, identity)
    in_vmap = torch.func.vmap(lambda *parts: HeadOutput(*parts).rotations)(
        *(part[:, None] for part in output)
    )
    torch.testing.assert_close(in_vmap[:, 0], rotations)
