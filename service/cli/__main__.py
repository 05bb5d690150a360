"""Entry point of the command `cake`."""

from service.cli.interrupts import ended_by_interrupt
from service.quick_imports import quick_imports


def main() -> None:
    """Run the command line. Ctrl-C ends it without a traceback."""
    with ended_by_interrupt(), quick_imports():
        from service.cli.main import app
    app()


if __name__ == "__main__":
    main()
