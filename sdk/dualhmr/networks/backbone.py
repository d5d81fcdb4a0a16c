"""What a backbone is to the rest of the package."""

from torch import nn


class Backbone(nn.Module):
    """Base class of the networks that turn one person's inputs into features.

    Calling it with the tensors named in `reads`, in that order and with the batch first, gives
    features (N, `feature_count`).
    """

    reads: tuple[str, ...]
    feature_count: int
