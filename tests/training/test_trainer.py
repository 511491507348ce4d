import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from training_runs import MIXED, OPTIONS, SIZE, Bits, Pixels, numbers, run, slide, trainer

from holohisto.config.models import HolohistoModel
from holohisto.config.sections import ClassOptions
from holohisto.config.training import Augmentation, TokensOptions
from holohisto.errors import HolohistoError
from holohisto.runtime.arithmetic import ceil_div
from holohisto.runtime.results import Results
from holohisto.segmenter.file import build_segmenter
from holohisto.segmenter.inputs import Inputs
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import Variant, restore, variants_of
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.token_map import TokenMap
from holohisto.training import validation
from holohisto.training.batches import drawn_variants
from holohisto.training.identity import training_identity
from holohisto.training.job import TrainingJob
from holohisto.training.progress import EpochRow
from holohisto.training.ranks import require_equal_shares
from holohisto.training.sampler import foreground_tiles
from holohisto.training.schedule import learning_rate
from holohisto.training.slides import Batch, View, annotated_cells, stack
from holohisto.training.threshold_fit import fit_threshold
from holohisto.training.trainer import Trainer
from holohisto.training.validation import slide_dice


def test_tokens_left_out_are_a_function_of_seed_epoch_and_number():
    options = OPTIONS.model_copy(update={"token_dropout": 0.25})
    batches = [trainer(options).batches.read(0, step) for step in range(8)]
    share = np.mean([(batch.tokens == -1).mean() for batch in batches])
    assert 0.15 < share < 0.35
    assert np.array_equal(batches[5].tokens, trainer(options).batches.read(0, 5).tokens)
    assert not np.array_equal(batches[5].tokens == -1, batches[6].tokens == -1)
    none = trainer(OPTIONS.model_copy(update={"token_dropout": 0.0})).batches.read(0, 5)
    kept = batches[5].tokens >= 0
    assert (none.tokens >= 0).all()
    assert np.array_equal(none.tokens[kept], batches[5].tokens[kept])


def test_channels_left_out_are_a_function_of_seed_epoch_and_number():
    def loss(share, state=0):
        a_trainer = trainer(OPTIONS.model_copy(update={"channel_dropout": share}))
        a_trainer.model.train()
        torch.manual_seed(state)  # must not matter
        return a_trainer.loss(a_trainer.batches.read(0, 0)).item()

    assert loss(0.2) == loss(0.2, state=5)
    assert loss(0.2) != loss(0.0)
    assert loss(0.0) == loss(0.0, state=5)
    batches = [trainer().batches.read(0, step) for step in range(8)]
    assert batches[5].seeds == trainer().batches.read(0, 5).seeds
    assert len({seed for batch in batches for seed in batch.seeds}) == 16
    parts = batches[0].split(2)
    assert parts[0].seeds + parts[1].seeds == batches[0].seeds


def test_interrupted_training_equals_uninterrupted_bit_for_bit(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = trainer(MIXED)
    rows = run(whole, tmp_path / "a")
    assert len(rows) == 4
    run(trainer(MIXED), tmp_path / "b", epochs=2)
    resumed = trainer(MIXED)
    again = run(resumed, tmp_path / "b")
    assert numbers(again) == numbers(rows)
    for name, value in whole.average.model.state_dict().items():
        assert torch.equal(value, resumed.average.model.state_dict()[name]), name
    for name, value in whole.progress.best.items():
        assert torch.equal(value, resumed.progress.best[name]), name


def test_another_training_is_not_taken_up(tmp_path):
    run(trainer(), tmp_path, epochs=2)
    other = trainer()
    first = next(iter(other.run(tmp_path / "checkpoint", "other identity")))
    assert [row.epoch for row in first] == [1]


@pytest.mark.parametrize("decoder", ["rgb", "tokens"])
def test_it_learns_and_the_best_epoch_is_kept(decoder, tmp_path):
    options = OPTIONS.model_copy(update={"epochs": 6, "coverage": 3.0, "token_dropout": 0.0})
    a_trainer = trainer(options, decoder=decoder)
    rows = run(a_trainer, tmp_path)
    dices = [row.val_dice for row in rows]
    assert rows[-1].loss < 0.4 * rows[0].loss
    assert a_trainer.progress.best_dice == max(dices) > (0.95 if decoder == "rgb" else 0.8)


def test_threads_do_not_change_the_training(tmp_path):
    results = []
    for workers in (0, 3):
        folder = tmp_path / str(workers)
        folder.mkdir()
        options = OPTIONS.model_copy(update={"epochs": 2})
        results.append(numbers(run(trainer(options, workers=workers), folder)))
    assert results[0] == results[1]


def test_a_loss_that_is_not_finite_names_the_tiles(tmp_path):
    broken = trainer()
    with torch.no_grad():
        next(broken.raw_model.parameters()).fill_(float("nan"))
    with pytest.raises(HolohistoError, match=r"not finite at step 0.*slide\d at \(\d+, \d+\)"):
        run(broken, tmp_path)


def test_threshold_is_fitted_on_the_slides():
    model = fit_threshold([slide(1), slide(2)], 1, (96, 64))
    dice = slide_dice(model, Inputs(model, None), slide(3), (96, 64), 16, Fabric(accelerator="cpu"))
    assert dice[0] > 0.95


def test_unknown_classes_have_no_dice():
    model = fit_threshold([slide(1)], 1, (96, 64))
    fabric = Fabric(accelerator="cpu")
    unknown = slide(3, known=(False,))
    found = slide_dice(model, Inputs(model, None), unknown, (96, 64), 16, fabric)
    assert np.isnan(found[0])


def test_batch_holds_the_slices_and_knows_the_slides_end():
    a_slide = slide(1)
    tile = Tile(y=208, x=288, width=96, height=64)
    batch = stack([View(a_slide, tile)], needs_tokens=True, needs_pixels=True)
    np.testing.assert_array_equal(
        batch.rgb[0, :, :43, :45].transpose(1, 2, 0), a_slide.tissue.slide.rgb[208:, 288:]
    )
    np.testing.assert_array_equal(
        batch.tokens[0, :3, :3], a_slide.token_map.tokens[0][13:16, 18:21]
    )
    assert batch.known[0, 0, :43, :45].all()
    assert not batch.known[0, 0, 43:].any()
    assert not batch.known[0, 0, :, 45:].any()
    np.testing.assert_array_equal(
        batch.target[0, 0, :43, :45], a_slide.tissue.slide.bits[208:, 288:] > 0
    )


def test_annotated_cells_are_those_with_a_pixel():
    pixels = Pixels(5)
    found = annotated_cells(Bits(pixels), SIZE, 2, 16)
    assert found.shape == (16, 21)
    for row in range(16):
        for column in range(21):
            cell = pixels.bits[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
            assert found[row, column] == cell.any()


def test_validation_counts_every_pixel_of_the_slide_once(monkeypatch):
    """The last row and column of tiles are pulled back over the ones before."""
    counted = np.zeros(SIZE[::-1], int)
    tiles = foreground_tiles(slide(3).area, (320, 240), 16)
    a_slide = slide(3)
    masks = []

    class Model(torch.nn.Module):
        needs_tokens, needs_pixels = False, True

        def forward(self, tokens, rgb, size):
            return torch.ones(1, 1, *size)  # everything is found

    whole = stack

    def spy(*arguments):
        batch = whole(*arguments)
        masks.append(batch)
        return batch

    monkeypatch.setattr(validation, "stack", spy)
    dice = slide_dice(
        Model(), Inputs(Model(), None), a_slide, (320, 240), 16, Fabric(accelerator="cpu")
    )
    for tile, batch in zip(tiles, masks, strict=True):
        known = batch.known[0, 0][: SIZE[1] - tile.y, : SIZE[0] - tile.x]
        counted[tile.y : tile.y + known.shape[0], tile.x : tile.x + known.shape[1]] += known
    assert len(tiles) > 1
    assert (counted == 1).all()
    positive = a_slide.tissue.slide.bits.mean()
    assert dice[0] == pytest.approx(2 * positive / (1 + positive))


@pytest.mark.parametrize("change", ["known", "annotation", "foreground", "tokens", "classes"])
def test_a_changed_training_has_another_identity(change, tmp_path):
    def opened(**facts):
        path = tmp_path / "annotation.png"
        path.write_bytes(facts.get("annotation", b"a"))
        a_slide = slide(1, known=facts.get("known", (True,)))
        a_slide.annotation.path = path
        a_slide.tissue.slide.fingerprint = "f"
        if facts.get("foreground"):
            a_slide.area.foreground[0, 0] = False
        if facts.get("tokens"):
            a_slide.token_map.tokens[0][0, 0] += 1
        return {"train": [a_slide], "val": []}

    def identity(slides, values=None):
        job = TrainingJob(
            name="m",
            model=HolohistoModel(),
            options=OPTIONS,
            token_mode="frozen",
            classes={"a": ClassOptions(values=values)},
            seed=0,
            sheet=tmp_path / "slides.tsv",
            results=Results(tmp_path),
        )
        return training_identity(job, slides, None)

    changed = {
        "known": lambda: identity(opened(known=(False,))),
        "annotation": lambda: identity(opened(annotation=b"b")),
        "foreground": lambda: identity(opened(foreground=True)),
        "tokens": lambda: identity(opened(tokens=True)),
        "classes": lambda: identity(opened(), values=(3,)),
    }
    before = identity(opened())
    assert identity(opened()) == before
    assert changed[change]() != before


@pytest.mark.parametrize("content", [b"", b"junk" * 100])
def test_a_damaged_checkpoint_is_not_taken_up(content, tmp_path):
    (tmp_path / "checkpoint").write_bytes(content)
    assert len(next(iter(trainer().run(tmp_path / "checkpoint", "identity")))) == 1


def test_learning_rate_rises_then_falls():
    options = OPTIONS.model_copy(update={"warmup": 0.1, "learning_rate": 1.0})
    rates = [learning_rate(options, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates.index(max(rates)) in (9, 10)
    assert (np.diff(rates[10:]) <= 0).all()
    assert rates[-1] < 0.02


def test_rows_have_the_columns_of_the_table():
    names = [f.name for f in dataclasses.fields(EpochRow)]
    assert names == [
        "epoch",
        "step",
        "loss",
        "learning_rate",
        "val_dice",
        "read_seconds",
        "step_seconds",
        "memory_mb",
    ]


STILL = Augmentation(stain_jitter=0, brightness_jitter=0, blur_sigma=0)
OFF = {"augmentation": STILL, "token_dropout": 0.0}


def with_variants(a_slide, count=8):
    """The slide with a token map in which variant k holds 100 k plus the place's row."""
    options = TokensOptions(orientations=8, appearances=count - 1)
    values = []
    for k, variant in enumerate(variants_of(options, "p")):
        width, height = variant.size(SIZE)
        rows = np.arange(ceil_div(height, 16), dtype=np.uint16)[:, None]
        values.append(np.repeat(100 * k + rows, ceil_div(width, 16), axis=1))
    a_slide.token_map = TokenMap(values, "s", "p", "t", 16, tuple(range(900, 900 + count)), options)
    return a_slide


def test_tokens_pixels_and_annotation_of_a_sample_are_seen_alike():
    slides = [with_variants(slide(1))]
    a_trainer = trainer(OPTIONS.model_copy(update=OFF), slides=slides)
    seen = set()
    for n in range(60):
        view = a_trainer.batches.view(0, n)
        batch = stack([view], needs_tokens=True, needs_pixels=True)
        k, tile = view.variant_index, view.tile
        assert batch.rgb.shape == (1, 3, 64, 96)
        assert batch.target.shape == batch.known.shape == (1, 1, 64, 96)
        assert batch.tokens.shape == (1, 4, 6)
        variant = slides[0].token_map.variants[k]
        assert view.variant.orientation == variant.orientation == k
        rgb = restore(batch.rgb[0].transpose(1, 2, 0), k)
        np.testing.assert_array_equal(rgb, variant.read(slides[0].rgb, tile))
        y = ((np.arange(tile.height) + tile.y + 0.5) / variant.scale).astype(int)
        x = ((np.arange(tile.width) + tile.x + 0.5) / variant.scale).astype(int)
        inside = np.ix_(y < SIZE[1], x < SIZE[0])
        bits = slides[0].tissue.slide.bits[np.ix_(y[y < SIZE[1]], x[x < SIZE[0]])] > 0
        np.testing.assert_array_equal(restore(batch.target[0, 0], k)[inside], bits)
        known = restore(batch.known[0, 0], k)
        assert known[inside].all()
        assert known.sum() == bits.size
        tokens = restore(batch.tokens[0], k)
        rows = tokens[tokens < 900]
        assert (rows // 100 == k).all()
        assert tokens[0, 0] == 100 * k + tile.y // 16
        seen.add(k)
    assert seen == set(range(8))


def test_a_pixel_reader_sees_all_orientations_and_scales_and_none_when_told():
    def seen(**facts):
        options = OPTIONS.model_copy(update=facts)
        return drawn_variants([slide(1)], options, from_token_maps=False)

    every = seen(orientations=8, augmentation=Augmentation(scale_jitter=0.21))
    assert {one.orientation for one in every} == set(range(8))
    assert sorted({one.scale for one in every}) == pytest.approx([1 / 1.21, 1 / 1.1, 1, 1.1, 1.21])
    assert len(every) == 40
    assert seen(orientations=1, augmentation=Augmentation(scale_jitter=0.0)) == [Variant()]


def test_online_tokens_are_those_of_the_tile_itself():
    torch.manual_seed(3)
    tokenizer = VQGAN(
        Architecture(
            channels=8, multipliers=(1, 1, 1, 1, 1), residual_blocks=1, codebook=32, dimension=4
        )
    ).eval()
    tokenizer.quantize.embedding.weight.data.normal_()
    tokenizer.freeze()
    segmenter = build_segmenter(
        HolohistoModel(size="T", decoder="tokens"), torch.randn(32, 4), 16, 1
    )
    inputs = Inputs(segmenter, tokenizer)
    assert (inputs.tokens, inputs.pixels) == (False, True)
    rgb = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 96), dtype=np.uint8)
    tokens, _ = inputs(None, rgb, torch.device("cpu"))
    tokenizer.freeze(False)
    assert torch.equal(tokens[1], tokenizer.tokens(torch.from_numpy(rgb[1:]))[0])
    assert len(tokens.unique()) > 3


def test_training_online_runs_without_token_maps(tmp_path):
    torch.manual_seed(0)
    tokenizer = VQGAN(
        Architecture(
            channels=8, multipliers=(1, 1, 1, 1, 1), residual_blocks=1, codebook=32, dimension=4
        )
    ).eval()
    tokenizer.quantize.embedding.weight.data.normal_()
    slides = [slide(1), slide(2), slide(3)]
    for one in slides:
        one.token_map = None
    model = build_segmenter(HolohistoModel(size="T"), tokenizer.quantize.codes, 16, 1)
    options = OPTIONS.model_copy(update={"epochs": 1})
    fabric = Fabric(accelerator="cpu", devices=1)
    a_trainer = Trainer(model, slides[:2], slides[2:], options, 0, fabric, 0, tokenizer=tokenizer)
    rows = run(a_trainer, tmp_path)
    assert len(rows) == 1
    assert 0 <= rows[0].val_dice <= 1


def test_told_to_stop_it_saves_between_steps_and_goes_on_bit_for_bit(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = trainer(MIXED, decoder="tokens")
    rows = run(whole, tmp_path / "a")
    stopped = trainer(MIXED, decoder="tokens")
    step = stopped.step

    def told(batch):
        loss = step(batch)
        if stopped.progress.step == whole.plan.epoch_steps + 2:  # within the second epoch
            signal.raise_signal(signal.SIGTERM)
        return loss

    stopped.step = told
    with pytest.raises(SystemExit) as ended:
        run(stopped, tmp_path / "b")
    assert ended.value.code == 128 + signal.SIGTERM
    resumed = trainer(MIXED, decoder="tokens")
    assert numbers(run(resumed, tmp_path / "b")) == numbers(rows)
    for name, value in whole.average.model.state_dict().items():
        assert torch.equal(value, resumed.average.model.state_dict()[name]), name


def test_it_stops_when_the_best_epoch_is_too_long_ago(tmp_path, monkeypatch):
    a_trainer = trainer(OPTIONS.model_copy(update={"patience": 2, "epochs": 9}), decoder="tokens")
    scores = iter([0.3, 0.5, 0.4, 0.5001, 0.2, 0.3, 0.9])
    monkeypatch.setattr(a_trainer, "validate", lambda: next(scores))
    rows = run(a_trainer, tmp_path)
    assert [row.val_dice for row in rows] == [0.3, 0.5, 0.4, 0.5001, 0.2, 0.3]
    assert a_trainer.progress.best_epoch == 4


def test_parts_of_a_step_add_up_to_its_gradient():
    """But for the norms' statistics, fixed here, and the smoothing of Dice, below 1 %."""
    gradients = []
    for micro_batch in (4, 1):
        options = OPTIONS.model_copy(update={"batch": 4, "micro_batch": micro_batch, "clip": 1e9})
        a_trainer = trainer(options, decoder="tokens")
        a_trainer.model.eval()
        batch = a_trainer.batches.read(0, 0)
        same = Batch(
            *(
                None if part is None else np.concatenate([part[:1]] * 4)
                for part in (batch.tokens, None, batch.target, batch.known)
            ),
            batch.names,
            batch.seeds,
        )
        a_trainer.step(same)
        gradients.append([p.grad.clone() for p in a_trainer.raw_model.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert (a - b).abs().max() <= 1e-2 * a.abs().max() + 1e-7


def test_two_ranks_compute_what_one_does(tmp_path):
    """The same global batch: losses within rounding, the same file of rows."""
    script = Path(__file__).parents[1] / "support" / "two_ranks.py"
    found = {}
    for ranks in (1, 2):
        done = subprocess.run(
            [sys.executable, script, str(ranks), tmp_path / f"{ranks}.json"],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found[ranks] = json.loads((tmp_path / f"{ranks}.json").read_text())
    assert found[1]["shares"] == [4]
    assert found[2]["shares"] == [2]
    np.testing.assert_allclose(found[2]["losses"], found[1]["losses"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[2]["dice"], found[1]["dice"], atol=1e-3)


def test_a_step_that_cannot_be_shared_is_refused():
    with pytest.raises(HolohistoError, match=r"train.batch.*found 3 tiles a step over 2 devices"):
        require_equal_shares(3, 2)
