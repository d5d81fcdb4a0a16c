"""The example photograph's person, as the frozen networks of a bundle see them."""

from typing import NamedTuple

from dualhmr.adapters.torch_adapter import PersonTensors, TorchAdapter
from dualhmr.body_files import read_body
from dualhmr.bundle import Bundle
from dualhmr.camera import default_focal_length, image_center
from dualhmr.engines import open_networks
from dualhmr.example import example
from dualhmr.looking import look
from dualhmr.person import PersonEvidence, see_person


class Sitter(NamedTuple):
    """Who is adapted to, and with what."""

    bundle: Bundle
    adapter: TorchAdapter
    seen: PersonEvidence
    known: PersonTensors
    """`seen` on the device."""


def sit(bundle: Bundle, *, device: str) -> Sitter:
    """Runs both frozen networks once; `bundle` is one of networks for the free body."""
    adapter = TorchAdapter(bundle, read_body(), device=device, scope="head")
    image, keypoints = example()
    height, width = image.shape[:2]
    view = see_person(
        keypoints, 0, default_focal_length(width, height), image_center(width, height)
    )
    networks = open_networks(bundle, "torch", device=device)
    seen = look(image, view, networks, bundle.manifest)
    return Sitter(bundle, adapter, seen, adapter.tensors(seen))
