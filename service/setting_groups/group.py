"""The base of the groups that the settings are composed of."""

from pydantic import BaseModel, ConfigDict


class SettingGroup(BaseModel):
    """A group of settings. Only `Settings`, composed of all groups, is validated, so a group builds no validator."""

    model_config = ConfigDict(defer_build=True)
