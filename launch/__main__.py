"""`python -m launch` is the `vesicle` command."""

from __future__ import annotations

from launch.cli import main

if __name__ == "__main__":
    main()
