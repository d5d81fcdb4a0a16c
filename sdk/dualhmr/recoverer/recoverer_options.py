"""`RecovererOptions`: the arguments of `Recoverer` that are plain values."""

from dataclasses import dataclass
from typing import Any

from dualhmr.engines import AUTO, EngineOptions
from dualhmr.recoverer.recoverer import Recoverer


@dataclass(frozen=True)
class RecovererOptions:
    """A `Recoverer` as a command line names it, or a job that opens one in every process."""

    bundle: str | None = None
    body: str | None = None
    device: str | None = None
    backend: str = AUTO
    adaptation: str = AUTO
    provider: str | None = None
    """Of ONNX Runtime."""
    threads: int | None = None
    """CPU threads; None: one for each core."""

    def engine(self) -> EngineOptions:
        """Settings of the engines. Raises ValueError for an unknown one."""
        return EngineOptions(provider=self.provider, threads=self.threads)

    def open(self, **others: Any) -> Recoverer:
        """`others` are further arguments of `Recoverer`; raises what it does."""
        return Recoverer(
            self.bundle,
            body=self.body,
            device=self.device,
            backend=self.backend,
            adaptation=self.adaptation,
            options=self.engine(),
            **others,
        )
