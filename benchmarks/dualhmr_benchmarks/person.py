"""The example photograph's person, as the frozen networks of a bundle see them."""

from typing import NamedTuple

from dualhmr.body import Body
from dualhmr.bundle import Bundle
from dualhmr.camera import default_focal_length, image_center
from dualhmr.engines import open_networks
from dualhmr.example import example
from dualhmr.person import PersonEvidence, see_person
from dualhmr.person_adapter import PersonAdapter


class Sitter(NamedTuple):
    """Who is adapted to, and with what."""

    bundle: Bundle
    adapter: PersonAdapter
    known: PersonEvidence


def sit(bundle: Bundle, body: Body, *, device: str) -> Sitter:
    """Runs both frozen networks once."""
    networks = open_networks(bundle, "torch", device=device)
    adapter = PersonAdapter(bundle, body.to(device=device), networks, device=device, scope="head")
    image, keypoints = example()
    height, width = image.shape[:2]
    seen = see_person(
        keypoints, 0, default_focal_length(width, height), image_center(width, height)
    )
    return Sitter(bundle, adapter, adapter.look(image, seen))
