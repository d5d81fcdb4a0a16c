"""Answer photographs over HTTP with bodies: JSON, GLB, NPZ or an overlay.

POST a photograph to /recover; GET /health and /info. Listens on this computer alone, unless --host
says otherwise, and knows no passwords. Ctrl-C or SIGTERM answers what has come, and ends.
"""

import argparse
import ipaddress
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from dualhmr.cli.shared_options import (
    OF_RECOVERER,
    OF_SCHEDULE,
    add_options,
    open_recoverer,
    schedule_options,
)
from dualhmr.example import PHOTOGRAPH

if TYPE_CHECKING:
    from dualhmr.serving.service import BodyService

NAME = "serve"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    add_options(parser, "host", "port", port={"default": 8765})
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
    add_options(group, "detector", *OF_SCHEDULE, *OF_RECOVERER)


def run(options: argparse.Namespace) -> int:
    """Serves until a signal ends it."""
    try:
        import uvicorn

        from dualhmr.serving.app import Limits, make_app
    except ImportError as error:
        raise ImportError(f'a server needs {error.name}: pip install "dualhmr[serve]"') from error
    from dualhmr.serving.service import BodyService

    limits = Limits(
        max_bytes=int(options.max_mb * 2**20),
        max_pixels=int(options.max_megapixels * 1e6),
        queue=options.queue,
        timeout_s=options.timeout,
    )
    service = BodyService(
        open_recoverer(options), detector=options.detector, **schedule_options(options)
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
