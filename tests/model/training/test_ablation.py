"""`cake train ablate`: every variant under every seed, once, and a table of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from model.training.ablation.ablate import VariantResult, ablate, table
from model.training.ablation.cost import measure_costs
from model.training.ablation.heads import VARIANTS
from model.training.run import Run
from tests.support.training_kit import SHORTEST, SILENT, open_tiny_run


@pytest.fixture(scope="module")
def run(streams: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """It grows to 165 MB."""
    with TemporaryDirectory(prefix="runs", dir=tmp_path_factory.getbasetemp()) as folder:
        yield open_tiny_run(streams, Path(folder) / "run", SHORTEST)


@pytest.fixture(scope="module")
def results(run: Run, streams: Path) -> tuple[list[VariantResult], list[VariantResult]]:
    """Of two calls, the second of which finds everything done but one variant."""
    first = ablate(run, streams, [0], SILENT)
    path = run.out_dir / "ablation" / "seed0" / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:-1]))
    return first, ablate(run, streams, [0], SILENT)


@pytest.mark.slow
def test_every_variant_has_an_outcome(results: tuple[list[VariantResult], list[VariantResult]]) -> None:
    first, _ = results
    assert [result.variant for result in first] == [variant.name for variant in VARIANTS]
    assert all(result.frame_map is not None and 0 < result.frame_map <= 1 for result in first)


@pytest.mark.slow
def test_an_ablation_that_was_cut_off_comes_to_the_same_numbers(
    results: tuple[list[VariantResult], list[VariantResult]],
) -> None:
    first, second = results
    assert second == first


def test_the_table_gives_mean_and_spread_over_the_seeds() -> None:
    two = [VariantResult("RGB only", seed, 0.5 + 0.1 * seed, 0.25, None, 10.0 * seed) for seed in (0, 1)]
    row = table(two).splitlines()[2]
    assert row == "| RGB only | 0.550 ± 0.071 | 0.250 ± 0.000 | - | 5 ± 7 |"
    assert len(table(two).splitlines()) == 2 + len(VARIANTS)


@pytest.mark.slow
@pytest.mark.usefixtures("results")
def test_the_cost_of_a_frame_is_that_of_the_detector_that_serves(run: Run) -> None:
    threads = torch.get_num_threads()
    costs = measure_costs(run)
    assert min(costs.served_ms, costs.flow_ms) > 0
    assert torch.get_num_threads() == threads
    assert "as served" in str(costs)
