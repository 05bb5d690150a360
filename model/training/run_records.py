"""Records in a run's folder of how it was started: the recipe, the network's configuration and the data's identity.

DIR/recipe.json, data.json. Earlier versions did not record from which checkpoints a run started.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.atomic import write_text_atomically
from model.checkpoints.stored import checkpoint_version
from model.config import ConfigError, ModelConfig
from model.training.loop import StageMismatchError
from model.training.recipe import Recipe, RecipeError

RECIPE_FILE, DATA_FILE = "recipe.json", "data.json"
_SHOWN = 5


def keep_data(out_dir: Path, items: Mapping[str, str]) -> None:
    """Record the data of a run: for each video or session, by name, a fingerprint that changes when it does.

    Raises:
        StageMismatchError: the folder's run was started with other data. It would be mixed with what was cached.
    """
    path = out_dir / DATA_FILE
    if not path.is_file():
        write_text_atomically(path, json.dumps(items, indent=1) + "\n")
        return
    stored: dict[str, str] = json.loads(path.read_text())
    changed = sorted(name for name in stored.keys() | items.keys() if stored.get(name) != items.get(name))
    if changed:
        shown = ", ".join(changed[:_SHOWN]) + (f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else "")
        raise StageMismatchError(f"{path}: the run was started with other data; changed: {shown}. Use another --out")


def keep_recipe(out_dir: Path, config: ModelConfig, recipe: Recipe, checkpoints: Mapping[str, Path | None]) -> None:
    """Record how a run is started.

    Args:
        checkpoints: those that it takes parts from, by what they are for; None for none.

    Raises:
        StageMismatchError: the folder was started with something else.
    """
    versions = {name: None if folder is None else checkpoint_version(folder) for name, folder in checkpoints.items()}
    begun = {"config": config.to_json(), "recipe": recipe.to_json(), "checkpoints": versions}
    path = out_dir / RECIPE_FILE
    if not path.is_file():
        out_dir.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, json.dumps(begun, indent=2) + "\n")
        return
    stored = _with_defaults(json.loads(path.read_text()))
    for key, value in json.loads(json.dumps(begun)).items():
        if key in stored and stored[key] != value:
            inner = _first_difference(stored.get(key), value)
            different = f"{key}.{inner}" if inner else key
            raise StageMismatchError(f"{path}: the run was started with another {different}; use another --out")


def _with_defaults(stored: dict[str, Any]) -> dict[str, Any]:
    """The record of an earlier version, with defaults for fields that were added since."""
    try:
        config, recipe = ModelConfig.from_json(stored["config"]), Recipe.from_json(stored["recipe"])
    except (KeyError, ConfigError, RecipeError):
        return stored
    completed: dict[str, Any] = json.loads(json.dumps({"config": config.to_json(), "recipe": recipe.to_json()}))
    return {**stored, **completed}


def _first_difference(stored: object, wanted: object) -> str:
    """The path of the first value that differs, such as `trunk.schedule.steps`; empty if the whole does."""
    if not isinstance(stored, dict) or not isinstance(wanted, dict):
        return ""
    for key in wanted:
        if stored.get(key) != wanted[key]:
            inner = _first_difference(stored.get(key), wanted[key])
            return f"{key}.{inner}" if inner else str(key)
    return ""
