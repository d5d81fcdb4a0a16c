"""Whether PyTorch is there: adaptation can do without it, training and export cannot."""

import importlib.util

INSTALL_TORCH = 'pip install "dualhmr[torch]"'


def torch_installed() -> bool:
    """Whether it can be imported; does not import it."""
    return importlib.util.find_spec("torch") is not None


def check_torch(needed_by: str) -> None:
    """Raises ImportError, which says what needs PyTorch and how to install it."""
    if not torch_installed():
        raise ImportError(f"{needed_by} needs PyTorch: {INSTALL_TORCH}")
