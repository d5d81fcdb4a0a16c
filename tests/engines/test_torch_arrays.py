"""Arrays of other libraries in PyTorch, on the CPU and on a pretend GPU."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers.pretend_cuda import pretend_cuda

from dualhmr.engines import FrozenNetworks
from dualhmr.engines.device_inputs import DeviceInputs, as_tensor
from dualhmr.engines.frozen_network import TensorSpec, check_inputs
from dualhmr.engines.torch_networks import _MOST_GRAPHS, NetworkGraphs, TorchNetwork
from dualhmr.person import PersonInputs, run_networks_on_people

SPECS = (
    TensorSpec("image", np.dtype(np.uint8), (5, 3)),
    TensorSpec("features", np.dtype(np.float32), (7,)),
    TensorSpec("height", np.dtype(np.float32), ()),
)


class OnlyDLPack:
    """An array of a library that is not known here."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def __dlpack__(self, **options: Any) -> Any:
        return self._tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()


def test_memory_is_shared_not_copied() -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    array = tensor.numpy()
    for each in (tensor, array, OnlyDLPack(tensor)):
        taken = as_tensor(each, "cpu")
        assert taken.data_ptr() == tensor.data_ptr()
        torch.testing.assert_close(taken, tensor)


def test_bytes_too() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    assert as_tensor(image, "cpu").dtype == torch.uint8


def test_what_must_not_be_written_is_copied() -> None:
    array = np.zeros(3, np.float32)
    array.flags.writeable = False
    as_tensor(array, "cpu").add_(1)
    assert (array == 0).all()


def person(number: int) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    return {
        "image": rng.integers(0, 256, (1, 5, 3), np.uint8),
        "features": rng.random((1, 7), np.float32),
        "height": np.array([number], np.float64),
        "not read": None,
    }


def test_one_copy_brings_all_that_is_on_the_host() -> None:
    people = [person(number) for number in range(2)]
    with pretend_cuda() as counts:
        inputs = DeviceInputs(4, SPECS, torch.device("cuda", 0))
        for from_device in (0, 1, 2):
            for each in people[:from_device]:
                each["features"] = torch.from_numpy(np.asarray(each["features"])).to("cuda:0")
            counts.reset()
            inputs.fill(people)
            mixed = from_device == 1  # one person's features are on the device, the other's not
            assert counts.to_device == (2 if mixed else 1)
            assert bool(counts.waits) == mixed
            for spec in SPECS:
                rows = [person(number)[spec.name] for number in (0, 1, 0, 0)]
                found = inputs.tensors[spec.name].cpu().numpy()
                np.testing.assert_array_equal(found, np.concatenate(rows))
            for row in range(from_device):
                people[row] = person(row)


class Fake:
    """A network whose results stay on the device, and which notes where its inputs are."""

    def __init__(self, reads: str, gives: dict[str, int], *, on_host: bool) -> None:
        self.reads, self._gives, self._on_host = (reads,), gives, on_host
        self.runs_on, self.seen = "", list[str]()

    def __call__(self, inputs: Any) -> Any:
        (name,) = self.reads
        array = inputs[name]
        self.seen.append(str(getattr(array, "device", "cpu")))
        if self._on_host:
            specs = [TensorSpec(name, np.dtype(np.float32), tuple(array.shape[1:]))]
            array = check_inputs(inputs, specs)[0][name]
        first = as_tensor(array, "cuda:0")[:, :1]
        return {each: first * torch.ones(width).to("cuda:0") for each, width in self._gives.items()}


@pytest.mark.parametrize("on_host", [False, True])
def test_features_stay_on_the_device_for_the_auxiliary_network(on_host: bool) -> None:
    people = [
        PersonInputs(None, {"keypoints": np.full((1, 3), number, np.float32)})  # type: ignore[arg-type]
        for number in range(5)
    ]
    backbone = Fake("keypoints", {"features": 7}, on_host=False)
    auxiliary = Fake("features", {"rotations": 2, "betas": 3}, on_host=on_host)
    with pretend_cuda() as counts:
        networks = FrozenNetworks(backbone, auxiliary, backend="torch", batch_sizes=(1, 4))
        evidence = run_networks_on_people(people, networks)
        assert auxiliary.seen == ["cuda:0", "cuda:0"]
        assert counts.to_host == (2 if on_host else 0)  # once for a batch, not for a person
        for number, each in enumerate(evidence):
            found = as_tensor(each.betas, "cpu")
            assert torch.equal(found, torch.full((1, 3), float(number)))


class Doubled(torch.nn.Module):
    def forward(self, features: torch.Tensor, height: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return 2 * features, features.sum(1) + height


def test_a_network_replays_a_graph_for_every_number_of_persons() -> None:
    with pretend_cuda() as counts:
        graphs = NetworkGraphs(torch.device("cuda", 0))
        network = TorchNetwork(Doubled(), SPECS[1:], ("a", "b"), device="cuda:0", graphs=graphs)
        kept = []
        for persons in range(1, _MOST_GRAPHS + 3):
            people = [person(number) for number in range(persons)]
            whole = {
                spec.name: np.concatenate([each[spec.name] for each in people]).astype(spec.dtype)
                for spec in SPECS
            }
            kept.append((whole, network(whole)))
        assert counts.nodes == [5] * _MOST_GRAPHS
        # A result stays as it is when the network is called again.
        for whole, results in kept:
            expected = Doubled()(*(torch.from_numpy(whole[name]) for name in network.reads))
            for found, array in zip(results.values(), expected, strict=True):
                torch.testing.assert_close(torch.from_numpy(as_tensor(found, "cpu").numpy()), array)
