"""`python -m examples.crm`: listen, print the address, serve until told to stop."""

from __future__ import annotations

import argparse

from examples.crm.server import listen, serve

__all__ = ["main"]


def main() -> None:
    """Read the arguments and serve; the one line on stdout is the address."""
    parser = argparse.ArgumentParser(prog="python -m examples.crm", description="A sample CRM.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port; 0 picks a free one")
    arguments = parser.parse_args()
    try:
        listener = listen(arguments.host, arguments.port)
    except (OSError, OverflowError) as error:
        parser.exit(1, f"crm cannot listen on {arguments.host}:{arguments.port}: {error}\n")
    host, port = listener.getsockname()[:2]
    # The socket already accepts, so whoever reads this line may connect at once.
    print(f"crm listening on http://{host}:{port}", flush=True)
    serve(listener)


if __name__ == "__main__":
    main()
