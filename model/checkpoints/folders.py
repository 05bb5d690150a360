"""Where checkpoints are: folders of shipped models, and folders given by a path. Needs neither torch nor NumPy."""

from pathlib import Path

SHIPPED_DIR = Path(__file__).parents[1] / "weights"
CONFIG_FILE = "model.json"
WEIGHTS_FILE = "model.safetensors"


class CheckpointNotFoundError(LookupError):
    """There is no model of this name, and no checkpoint folder at this path."""


def available_models() -> list[str]:
    """Names of the checkpoints that ship with the package, sorted."""
    return sorted(path.parent.name for path in SHIPPED_DIR.glob(f"*/{CONFIG_FILE}"))


def find_checkpoint(name_or_path: str | Path) -> Path:
    """The folder of a shipped model's name or of a path. A bare name never reaches outside the shipped models."""
    if str(name_or_path) in available_models():
        return SHIPPED_DIR / str(name_or_path)
    folder = Path(name_or_path)
    if (folder / CONFIG_FILE).is_file():
        return folder
    known = ", ".join(available_models()) or "none"
    raise CheckpointNotFoundError(
        f"no model {str(name_or_path)!r}; give a folder with {CONFIG_FILE}, or one of: {known}"
    )
