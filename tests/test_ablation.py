"""`cake train ablate`: every variant under every seed, once, and a table of them."""

import json
from dataclasses import replace

import pytest
from training_kit import SILENT, TINY, open_tiny_run, write_streams

from model.training.ablation.ablate import VARIANTS, Outcome, ablate, table
from model.training.recipe import Schedule


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Outcome], list[Outcome]]:
    """Of two calls, the second of which finds everything done but one variant."""
    data, out = write_streams(tmp_path_factory.mktemp("streams")), tmp_path_factory.mktemp("runs") / "run"
    short = Schedule(2, warmup_steps=1)
    recipe = replace(
        TINY,
        trunk=replace(TINY.trunk, schedule=short),
        teacher=replace(TINY.teacher, schedule=short),
        distill=replace(TINY.distill, schedule=short),
        contrast=replace(TINY.contrast, schedule=short),
        head=replace(TINY.head, schedule=short),
    )
    run = open_tiny_run(data, out, recipe)
    first = ablate(run, data, [0], SILENT)
    path = out / "ablation" / "seed0" / "outcomes.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:-1]))
    return first, ablate(run, data, [0], SILENT)


def test_every_variant_has_an_outcome(outcomes: tuple[list[Outcome], list[Outcome]]) -> None:
    first, _ = outcomes
    assert [outcome.variant for outcome in first] == [variant.name for variant in VARIANTS]
    assert all(outcome.frame_map is not None and 0 < outcome.frame_map <= 1 for outcome in first)


def test_an_ablation_that_was_cut_off_comes_to_the_same_numbers(
    outcomes: tuple[list[Outcome], list[Outcome]],
) -> None:
    first, second = outcomes
    assert second == first


def test_the_table_gives_mean_and_spread_over_the_seeds() -> None:
    two = [Outcome("RGB only", seed, 0.5 + 0.1 * seed, 0.25, None, 10.0 * seed) for seed in (0, 1)]
    row = table(two).splitlines()[2]
    assert row == "| RGB only | 0.550 ± 0.071 | 0.250 ± 0.000 | - | 5 ± 7 |"
    assert len(table(two).splitlines()) == 2 + len(VARIANTS)
