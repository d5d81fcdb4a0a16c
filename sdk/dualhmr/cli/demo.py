"""Drop a photograph on a page in the browser, and get the body back in 3D.

The page, and the server behind it, are on this computer alone, unless --host says otherwise.
"""

import argparse
from typing import Any

from dualhmr.cli.shared_options import OF_RECOVERER, add_options, open_recoverer

NAME = "demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    add_options(parser, "host", "port", port={"default": 8770})
    parser.add_argument("--no-browser", action="store_true", help="only say where the page is")
    add_options(parser, *OF_RECOVERER)
    parser.add_argument(
        "--detector",
        action="append",
        metavar="NAME",
        help="one that the page offers, as in dualhmr recover; may be repeated (movenet)",
    )


def run(options: argparse.Namespace) -> int:
    """Serves the page until a signal ends it."""
    try:
        import uvicorn

        from dualhmr.serving.app import Limits, make_app
    except ImportError as error:
        raise ImportError(f'the demo needs {error.name}: pip install "dualhmr[serve]"') from error
    from dualhmr.cli.serve import warm_up, warn_of_strangers
    from dualhmr.detection import open_detector
    from dualhmr.rendering.browser import open_in_browser
    from dualhmr.serving.demo import Choices, ChoosingService, schedules_of

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                host, port = self.servers[0].sockets[0].getsockname()[:2]
                page = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
                print(f"the demo is at {page}; Ctrl-C ends it", flush=True)
                if not options.no_browser and not open_in_browser(page):
                    print("no browser was found here; open the address in one", flush=True)

    detectors = {name: open_detector(name) for name in options.detector or ["movenet"]}
    recoverer = open_recoverer(options)
    service = ChoosingService(recoverer)
    warm_up(service)
    warn_of_strangers(options.host, NAME)
    choices = Choices(schedules_of(recoverer), detectors)
    config = uvicorn.Config(
        make_app(service, Limits(), choices=choices),
        host=options.host,
        port=options.port,
        log_level="warning",
        server_header=False,
        ws="none",
    )
    Server(config).run()
    return 0
