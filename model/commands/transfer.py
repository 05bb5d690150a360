"""`cake train transfer`: the effect of each step of the recipe when all but the head was learned from other video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model.commands.progress import show_progress
from model.commands.terminal import failing_clearly, require
from model.commands.train import From, RecipeFile, read_recipe


def transfer_command(
    source: Annotated[list[Path], typer.Option(help="Folder of other annotated videos; may be repeated.")],
    source_out: Annotated[
        Path, typer.Option(help="Folder of the run on them, as for `cake train`; several targets can use it.")
    ],
    data: Annotated[list[Path], typer.Option(help="Folder of the target's annotated videos; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Folder for what is learned from the target.")],
    test: Annotated[Path | None, typer.Option(help="Another such folder, to test on. Default: --folds.")] = None,
    folds: Annotated[
        int, typer.Option(min=2, help="Cross-validation over the blocks of composed streams, without --test.")
    ] = 5,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Learn from this share of the target's training streams.")
    ] = 1.0,
    adapt: Annotated[bool, typer.Option(help="Motion branches learn from the target too; with --test.")] = False,
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", help="Random seed; may be repeated.", show_default="0, 1, 2")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A variant, as the table names it; may be repeated. Default: all.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="Network: cake-xs-rgb, cake-xs or cake-s. Default: that of --from, or cake-xs-rgb."),
    ] = None,
    recipe: RecipeFile = None,
    init: From = None,
) -> None:
    """Learn trunk, teacher and motion branches from other videos, freeze them, and compare heads trained on a target.

    This is the setting of the paper. Prints results and paired differences of all variants. An interrupted run resumes
    when the same command is repeated.
    """
    require("transfer", "cv2", "opencv-python-headless")
    from model.training.ablation.compare import compare_variants
    from model.training.ablation.cost import measure_costs
    from model.training.ablation.heads import VARIANTS
    from model.training.ablation.transfer import cosines, open_target, train_source, transfer
    from model.training.placement import Placement
    from model.training.run import open_run

    with failing_clearly(LookupError), show_progress() as progress:
        if (test is None or share < 1) and adapt:
            raise ValueError(
                "--adapt needs --test, and no --share: the motion branches learn from all training streams"
            )
        variants = [variant for variant in VARIANTS if not only or variant.name in only]
        if unknown := set(only or ()) - {variant.name for variant in variants}:
            raise ValueError(f"there is no variant {', '.join(sorted(unknown))}")
        network = config or (None if init else "cake-xs-rgb")
        chosen_recipe, placement = read_recipe(recipe, None), Placement.detect(1)
        other = open_run(source, source_out, network, chosen_recipe, placement, progress, init=init)
        train_source(other, progress)
        target = open_target(other, data, test, out, folds=folds, share=share, progress=progress)
        motion_run, chosen = target.run if adapt else other, seeds or [0, 1, 2]
        heads = out / "heads" / ("adapted" if adapt else f"share-{share:g}")
        outcomes = transfer(motion_run, target, variants, chosen, heads, progress)
        has_distilled = any(variant.motion == "distilled" for variant in variants)
        similar = cosines(motion_run, target, chosen, progress) if has_distilled else {}
        progress.on_stage("comparing the variants")
        tables = compare_variants(outcomes, target.units, target.run.config.labels, target.run.config.candidate_rule)
        costs = measure_costs(target.run)
    typer.echo(f"{tables}\n")
    for where, values in similar.items():
        typer.echo(f"Cosine of the distilled map to the teacher's, {where}: {', '.join(f'{v:.3f}' for v in values)}")
    typer.echo(f"\n{costs}")
