"""Entry of a worker process, started by `cake serve` or by hand as `cake worker`."""

from service.quick_imports import quick_imports


def main() -> None:
    """Run `service.worker.process.main`, with its imports sped up."""
    with quick_imports():
        from service.worker.process import main as work
    work()


if __name__ == "__main__":
    main()
