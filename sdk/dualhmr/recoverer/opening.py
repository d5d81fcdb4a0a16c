"""Opens a `Pipeline` from what users pass to `Recoverer`."""

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dualhmr.arguments import check_type
from dualhmr.body.arrays import BodyArrays
from dualhmr.body.files import ExtraJoints, matching_arrays
from dualhmr.bundle import Bundle, open_bundle
from dualhmr.compiling import usable_cpus
from dualhmr.detection import AnyDetector
from dualhmr.engines import Auxiliary, EngineOptions, open_auxiliary, open_networks
from dualhmr.person_fitting import choose_adaptation, open_person_fitter
from dualhmr.recoverer.arguments import as_body_arrays, backend_for_all, device_name
from dualhmr.recoverer.finding import PeopleFinder
from dualhmr.recoverer.pipeline import Pipeline

if TYPE_CHECKING:
    import torch

    from dualhmr.body.model import Body


@dataclass(frozen=True)
class PipelineOpener:
    """Checked arguments of `Recoverer`."""

    bundle: Bundle
    body: BodyArrays
    device: str
    backend: str
    adaptation: str
    options: EngineOptions
    scope: str
    auxiliary: "str | os.PathLike[str] | Auxiliary | None"
    detector: AnyDetector | None

    @property
    def spreads_people(self) -> bool:
        """Whether cores of a CPU take a person each.

        A GPU does best with many at once. Adapting the backbone too uses all cores for one.
        """
        return self.device == "cpu" and self.scope == "head"

    @property
    def threads(self) -> int:
        """CPU threads to compute with."""
        return self.options.threads or usable_cpus()

    def open(self) -> Pipeline:
        """A pipeline that may use all `threads` for one photograph."""
        bundle, body, options = self.bundle, self.body, self.options
        networks = open_networks(bundle, self.backend, device=self.device, options=options)
        if self.auxiliary is not None:
            own = open_auxiliary(
                self.auxiliary,
                bundle,
                beta_count=body.beta_count,
                device=self.device,
                options=options,
            )
            networks = replace(networks, auxiliary=own)
        fitter = open_person_fitter(
            self.adaptation, bundle, body, device=self.device, scope=self.scope, options=options
        )
        own_auxiliary = self.auxiliary is not None
        return Pipeline(bundle, body, networks, fitter, self._finder(), own_auxiliary)

    def open_for_threads(self, pipeline: Pipeline) -> Pipeline:
        """One for several threads at once, where cores take a person each; `pipeline` is of `open`.

        Elsewhere threads only prepare, for `pipeline` to adapt.
        """
        if self.threads == 1:
            return pipeline
        alone = replace(self, options=replace(self.options, threads=1))
        return alone.open() if self.spreads_people else replace(pipeline, finder=alone._finder())

    def _finder(self) -> PeopleFinder:
        return PeopleFinder(self.detector, threads=self.options.threads)


def pipeline_opener(
    bundle: str | os.PathLike[str] | Bundle | None,
    *,
    body: "str | os.PathLike[str] | Body | BodyArrays | None",
    device: "str | torch.device | None",
    backend: str,
    adaptation: str,
    options: EngineOptions | None,
    scope: str,
    auxiliary: "str | os.PathLike[str] | Auxiliary | None",
    extra_joints: ExtraJoints | None,
    detector: AnyDetector | None,
) -> PipelineOpener:
    """Checks the arguments of `Recoverer`, and reads bundle and body; see there."""
    check_type("bundle", bundle, (str, os.PathLike, Bundle, type(None)), "a folder or a Bundle")
    check_type("options", options, (EngineOptions, type(None)), "EngineOptions")
    arrays = as_body_arrays(body)
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    name = device_name(device)
    adaptation = choose_adaptation(adaptation, opened, device=name, scope=scope)
    arrays = matching_arrays(
        arrays,
        needed=opened.manifest.body,
        networks=f"bundle {opened.folder}",
        extra_joints=opened.extra_joints if extra_joints is None else extra_joints,
    )
    return PipelineOpener(
        opened,
        arrays,
        device=name,
        backend=backend_for_all(backend) if scope == "all" else backend,
        adaptation=adaptation,
        options=options or EngineOptions(),
        scope=scope,
        auxiliary=auxiliary,
        detector=detector,
    )
