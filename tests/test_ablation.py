"""`cake train ablate`: every variant under every seed, once, and a table of them."""

import json
from dataclasses import replace

import pytest
import torch
from training_kit import SILENT, TINY, open_tiny_run, write_streams

from model.training.ablation.ablate import VARIANTS, Outcome, ablate, table
from model.training.ablation.cost import Costs, measure_costs
from model.training.recipe import Schedule
from model.training.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
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
    return open_tiny_run(data, out, recipe)


@pytest.fixture(scope="module")
def outcomes(run: Run) -> tuple[list[Outcome], list[Outcome]]:
    """Of two calls, the second of which finds everything done but one variant."""
    data = run.data_dir
    first = ablate(run, data, [0], SILENT)
    path = run.out_dir / "ablation" / "seed0" / "outcomes.json"
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


@pytest.mark.usefixtures("outcomes")
def test_what_a_frame_costs_is_told_for_each_way_of_seeing_motion(run: Run) -> None:
    threads = torch.get_num_threads()
    costs = measure_costs(run)
    assert min(costs.rgb_ms, costs.adapter_ms, costs.flow_ms, costs.teacher_ms) > 0
    assert torch.get_num_threads() == threads


def test_two_streams_cost_the_flow_and_its_network_on_top_of_the_first() -> None:
    assert str(Costs(rgb_ms=10, adapter_ms=2, flow_ms=5, teacher_ms=4)) == (
        "One more frame on one core: 10.0 ms with RGB only, 12.0 ms with the motion adapter, "
        "19.0 ms with two streams, of which flow 5.0 ms and its network 4.0 ms."
    )
