"""Where a bundle's weights come from."""

import json
from collections.abc import Iterable
from pathlib import Path

from dualhmr.bundle import sha256
from dualhmr_training.trained import read_record


def provenance_of(sources: Iterable[Path]) -> dict[str, str]:
    """Of files their sha256, of trainings their record (commit, configuration, data), by name."""
    return {
        source.name: json.dumps(read_record(source)) if source.is_dir() else sha256(source)
        for source in sources
    }
