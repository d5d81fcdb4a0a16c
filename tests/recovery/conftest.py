import numpy as np
import pytest
from numpy.typing import NDArray

from dualhmr import Recoverer
from dualhmr.example import example
from dualhmr.keypoints import Keypoints


@pytest.fixture(scope="module")
def recoverer() -> Recoverer:
    """The default networks; of one file, as ONNX Runtime keeps the memory of the largest batch."""
    return Recoverer()


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    return example()[0]


@pytest.fixture(scope="session")
def keypoints() -> Keypoints:
    return example()[1]
