"""Adapting the head to one person: by PyTorch, or by a bundle's graph without it."""

from dualhmr.adapters.choosing import ADAPTATIONS as ADAPTATIONS
from dualhmr.adapters.choosing import Adapter as Adapter
from dualhmr.adapters.choosing import choose_adaptation as choose_adaptation
from dualhmr.adapters.choosing import open_adapter as open_adapter
