"""The networks that `cake train` can train: two sizes, the smaller one also on plain RGB."""

from dataclasses import replace

from model.config import SETTLE_S, ConfigError, HeadConfig, ModelConfig, TrunkConfig


def cake_s(labels: tuple[str, ...], image_size: int = 160) -> ModelConfig:
    """The paper's size: X3D-S, 13 frames at 5 Hz."""
    return ModelConfig(
        name="cake-s", labels=labels, sample_hz=5.0, image_size=image_size, framing="stretch", settle_s=SETTLE_S
    )


def cake_xs(labels: tuple[str, ...]) -> ModelConfig:
    """A size that learns MocapStreams on two cores in about an hour, and runs many streams on one."""
    return ModelConfig(
        name="cake-xs",
        labels=labels,
        sample_hz=10.0,
        image_size=96,
        framing="stretch",
        trunk=TrunkConfig(
            frame_difference=True,
            stem_kernel=7,
            stem_stride=4,
            stem_taps=3,
            stem_width=24,
            widths=(32, 64, 128),
            depths=(2, 4, 2),
            strides=(2, 2, 2),
        ),
        head=HeadConfig(
            projection_width=288,
            feature_dim=256,
            pool="average_max",
            pool_steps=1,
            fused_dim=256,
            hidden_dim=256,
            residual=True,
            activation="softmax",
        ),
        settle_s=SETTLE_S,
    )


def cake_xs_rgb(labels: tuple[str, ...]) -> ModelConfig:
    """`cake_xs` on frames as they are, without their differences, as the paper's trunk sees them. For comparisons:
    only the motion branch shows it motion explicitly.
    """
    config = cake_xs(labels)
    return replace(config, name="cake-xs-rgb", trunk=replace(config.trunk, frame_difference=False))


def architecture(name: str, labels: tuple[str, ...]) -> ModelConfig:
    """The configuration called `name` for these labels; `ConfigError` unless it is `cake-s`, `cake-xs` or
    `cake-xs-rgb`.
    """
    match name:
        case "cake-s":
            return cake_s(labels)
        case "cake-xs":
            return cake_xs(labels)
        case "cake-xs-rgb":
            return cake_xs_rgb(labels)
    raise ConfigError(f"unknown configuration {name!r}; there are cake-s, cake-xs and cake-xs-rgb")
