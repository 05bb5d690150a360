"""What is wrong with the settings, in sentences for the person who set them."""

from collections.abc import Mapping

from pydantic_core import ErrorDetails

from model.checkpoints.folders import CheckpointNotFoundError, available_models, find_checkpoint
from service.setting_groups.syntax import PREFIX, variable
from service.settings import Settings
from service.validation_messages import explain_validation_error

# Read by `make`, docker-compose.yml, the examples and the commands that use a server, not by the server.
_OTHER_READERS = frozenset(
    {"CAKE_TORCH_INDEX", "CAKE_MINIO_PASSWORD", "CAKE_SERVER", "CAKE_KEY", "CAKE_WEBHOOK_SECRET"}
)


class ModelSettingError(ValueError):
    """A setting names a model that this machine does not have."""


def check_models(settings: Settings) -> None:
    """Raise ModelSettingError unless the workers of this machine have the models that the settings name.

    It reads only which folders there are. `Settings` compares the default model with CAKE_MODELS, so here it is
    compared with the shipped models.
    """
    try:
        for name_or_path in settings.models:
            find_checkpoint(name_or_path)
    except CheckpointNotFoundError as error:
        raise ModelSettingError(f"{variable('models')}: {error}") from error
    shipped = available_models()
    if settings.default_model is not None and not settings.models and settings.default_model not in shipped:
        default = f"{variable('default_model')}={settings.default_model}"
        raise ModelSettingError(
            f"{default} is not one of the shipped models: {', '.join(shipped)}. Name others in {variable('models')}."
        )


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Variables with our prefix that nothing reads, each with the known variable it most resembles, if any."""
    import difflib

    known = [variable(name) for name in Settings.model_fields]
    unknown = [name for name in environ if name.startswith(PREFIX) and name not in {*known, *_OTHER_READERS}]
    return {name: next(iter(difflib.get_close_matches(name, known, n=1)), None) for name in sorted(unknown)}


def explain_setting_error(error: ErrorDetails, options: Mapping[str, str]) -> str:
    """One sentence about an invalid setting, and an example of a valid one.

    It names the variable, or the command-line option that was given instead: `options` maps fields to options.
    """
    if not error["loc"]:  # About several settings: the message names them.
        return error["msg"].removeprefix("Value error, ")
    name, *place = error["loc"]
    name = str(name)
    source = f"{options[name]} " if name in options else f"{variable(name)}="
    given = f"{source}{error['input']}"
    if place:
        item = f"item {place[0] + 1}" if isinstance(place[0], int) else place[0]
        given = f"{source.rstrip('= ')}, {item} ({error['input']})"
    message = explain_validation_error(error)
    example = Settings.model_fields[name].examples or [""]
    return f"{given}: {message[:1].lower()}{message[1:]}. Example: {source}{example[0]}"
