"""Answer photographs over HTTP with bodies: JSON, GLB, NPZ or an overlay.

POST a photograph to /recover; GET /health and /info. Listens on this computer alone, unless --host
says otherwise, and knows no passwords. Ctrl-C or SIGTERM answers what has come, and ends.
"""

import argparse
import ipaddress
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from dualhmr.adaptation.schedule import ITERATES, SCHEDULE_NAMES
from dualhmr.engines import AUTO, BACKENDS, PROVIDERS, EngineOptions
from dualhmr.example import PHOTOGRAPH
from dualhmr.person_fitting import ADAPTATIONS

if TYPE_CHECKING:
    from dualhmr.serving.service import BodyService

NAME = "serve"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8765, help="0 is a free one (%(default)s)")
    limits = parser.add_argument_group("limits of what clients may ask for")
    limits.add_argument("--max-mb", type=float, default=20.0, help="of a body (%(default)s)")
    limits.add_argument(
        "--max-megapixels", type=float, default=50.0, help="of a photograph (%(default)s)"
    )
    limits.add_argument(
        "--queue", type=int, default=32, metavar="N", help="requests at once (%(default)s)"
    )
    limits.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="of a request (%(default)s)"
    )
    group = parser.add_argument_group("how people are recovered, as in dualhmr recover")
    group.add_argument("--bundle", help="networks other than the default ones")
    group.add_argument("--body", help="body file, for bundles trained on SMPL")
    group.add_argument("--detector", help="finds people (movenet)")
    group.add_argument("--schedule", choices=SCHEDULE_NAMES, help="the bundle's if left out")
    group.add_argument("--max-steps", type=int, metavar="N")
    group.add_argument("--iterate", choices=ITERATES)
    group.add_argument("--device", help="cpu (default), cuda, cuda:1, or auto")
    group.add_argument("--backend", choices=BACKENDS, default=AUTO)
    group.add_argument("--adaptation", choices=ADAPTATIONS, default=AUTO)
    group.add_argument("--provider", choices=PROVIDERS, help="of ONNX Runtime")
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads (all cores)")


def run(options: argparse.Namespace) -> int:
    """Serves until a signal ends it."""
    try:
        import uvicorn

        from dualhmr.serving.app import Limits, make_app
    except ImportError as error:
        raise ImportError(f'a server needs {error.name}: pip install "dualhmr[serve]"') from error
    from dualhmr.recoverer import Recoverer
    from dualhmr.serving.service import BodyService

    limits = Limits(
        max_bytes=int(options.max_mb * 2**20),
        max_pixels=int(options.max_megapixels * 1e6),
        queue=options.queue,
        timeout_s=options.timeout,
    )
    recoverer = Recoverer(
        options.bundle,
        body=options.body,
        device=options.device,
        backend=options.backend,
        adaptation=options.adaptation,
        options=EngineOptions(provider=options.provider, threads=options.threads),
    )
    service = BodyService(
        recoverer,
        detector=options.detector,
        schedule=options.schedule,
        max_steps=options.max_steps,
        iterate=options.iterate,
    )
    warm_up(service)
    warn_of_strangers(options.host, NAME)
    config = uvicorn.Config(
        make_app(service, limits),
        host=options.host,
        port=options.port,
        timeout_graceful_shutdown=max(int(limits.timeout_s), 1),
        server_header=False,
        ws="none",
    )
    uvicorn.Server(config).run()
    return 0


def warm_up(service: "BodyService") -> None:
    """Before the first client comes, as compiling takes a few seconds."""
    from dualhmr.serving.service import PhotoRequest

    service.submit(PhotoRequest(PHOTOGRAPH.read_bytes())).result()


def warn_of_strangers(host: str, command: str) -> None:
    """On stderr, where other computers may reach the address."""
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    if host != "localhost":
        print(
            f"dualhmr {command}: whoever can reach {host} can use this server; "
            "it knows no passwords",
            file=sys.stderr,
        )
