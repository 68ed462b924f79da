import itertools
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.data import Classes, DataError, FolderDataset, SegmentationDataset, SyntheticDataset
from pdanet_tf.data.batches.crop import jitter_colors
from pdanet_tf.data.batches.paper import OrientationBatches
from pdanet_tf.data.batches.pipeline import crop_batches, paper_batches
from pdanet_tf.data.batches.sampling import nearest_indices, shuffled, subsample_label
from pdanet_tf.layers import PixelNormalization, pixel_mean

THREE = Classes.numbered(3)


def open_folder(root):
    return FolderDataset(root, "train", THREE)


def take(batches, count):
    return [(image.numpy(), label.numpy()) for image, label in batches.take(count)]


def assert_same(batches, others):
    for (image, label), (other_image, other_label) in zip(batches, others, strict=True):
        np.testing.assert_array_equal(image, other_image)
        np.testing.assert_array_equal(label, other_label)


def crops_of(dataset, **options):
    return crop_batches(dataset, **{"batch_size": 2, "crop_size": (16, 24), **options})


def test_the_same_seed_gives_the_same_crops_from_any_step(make_folder):
    dataset = open_folder(make_folder())
    first = take(crops_of(dataset), 6)
    assert_same(first, take(crops_of(dataset), 6))
    assert_same(first[4:], take(crops_of(dataset, start_step=4), 2))
    other = take(crops_of(dataset, seed=1), 6)
    assert any((a[0] != b[0]).any() for a, b in zip(first, other, strict=True))


def test_every_image_comes_once_per_epoch_in_changing_order(make_folder):
    dataset = open_folder(make_folder(count=6))
    # Told apart by their mean, as nothing is cropped, scaled or flipped.
    options = {"crop_size": (24, 32), "scale_range": (1.0, 1.0), "flip": False, "batch_size": 6}
    options["color_jitter"] = 0
    epochs = [image.mean((1, 2, 3)) for image, _ in take(crops_of(dataset, **options), 4)]
    expected = sorted(dataset.read(index)[0].mean() for index in range(6))
    for means in epochs:
        np.testing.assert_allclose(sorted(means), expected, rtol=1e-4)
    assert len({tuple(np.argsort(means)) for means in epochs}) > 1


def test_image_and_label_move_together(make_folder):
    # Images are three times 80 the label plus noise below 20 (and JPEG's): the label can be seen.
    dataset = open_folder(make_folder(size=(96, 128)))
    options = {"crop_size": (64, 64), "label_stride": 1, "color_jitter": 0}
    flipped = set()
    for images, labels in take(crops_of(dataset, **options), 10):
        seen = np.clip(np.round((images.mean(-1) - 10) / 80), 0, 2)
        counted = labels != 255
        assert (seen == labels)[counted].mean() > 0.95
        flipped.add(tuple(labels[0, 0, :8]))
        assert set(np.unique(labels)) <= {0, 1, 2, 255}
    assert len(flipped) > 1


def test_small_images_are_padded_with_what_does_not_count(make_folder):
    dataset = open_folder(make_folder())
    options = {"crop_size": (32, 40), "scale_range": (1.0, 1.0), "label_stride": 1, "flip": False}
    images, labels = take(crops_of(dataset, pad_color=(1.0, 2.0, 3.0), **options), 1)[0]
    assert (labels[:, 24:] == 255).all()
    assert (labels[:, :, 32:] == 255).all()
    assert (labels[:, :24, :32] != 255).all()
    assert (images[:, 24:] == (1.0, 2.0, 3.0)).all()
    assert (images[:, :, 32:] == (1.0, 2.0, 3.0)).all()


def test_labels_are_taken_from_the_middle_of_their_cell(make_folder):
    dataset = open_folder(make_folder())
    options = {"crop_size": (24, 32), "scale_range": (1.0, 1.0), "flip": False, "batch_size": 1}
    _, coarse = take(crops_of(dataset, **options), 1)[0]
    _, fine = take(crops_of(dataset, label_stride=1, **options), 1)[0]
    np.testing.assert_array_equal(coarse, fine[:, 4::8, 4::8])


@pytest.mark.parametrize("start", [None, 0, 7, 15])
@pytest.mark.parametrize(
    ("crop_size", "stride"), [((20, 27), 8), ((36, 44), 32), ((13, 40), 5), ((33, 48), 16)]
)
def test_a_crop_need_not_be_a_multiple_of_the_stride(make_folder, crop_size, stride, start):
    dataset = open_folder(make_folder(size=(24, 40)))
    options = {"crop_size": crop_size, "batch_size": 3}
    batches = crops_of(dataset, label_stride=stride, label_start=start, **options)
    images, coarse = take(batches, 1)[0]
    same, fine = take(crops_of(dataset, label_stride=1, **options), 1)[0]
    np.testing.assert_array_equal(images, same)
    assert images.shape == (3, *crop_size, 3)
    rows, columns = (-(-side // stride) for side in crop_size)
    assert coarse.shape == (3, rows, columns)
    for sample, row, column in np.ndindex(coarse.shape):
        first = stride // 2 if start is None else start
        y, x = stride * row + first, stride * column + first
        inside = y < crop_size[0] and x < crop_size[1]
        assert coarse[sample, row, column] == (fine[sample, y, x] if inside else 255)


def test_short_edge_sets_the_scale(make_folder):
    dataset = open_folder(make_folder())
    options = {"crop_size": (48, 64), "scale_range": (1.0, 1.0), "label_stride": 1}
    _, labels = take(crops_of(dataset, short_edge=48, **options), 1)[0]
    assert (labels != 255).all()


def test_jitter_changes_colours_only_and_is_the_same_for_the_same_seed(make_folder):
    dataset = open_folder(make_folder())
    plain, jittered = (take(crops_of(dataset, color_jitter=jitter), 4) for jitter in (0, 0.4))
    assert_same(jittered, take(crops_of(dataset, color_jitter=0.4), 4))
    for (image, label), (other_image, other_label) in zip(plain, jittered, strict=True):
        np.testing.assert_array_equal(label, other_label)
        assert (image != other_image).any()


class Factors:
    """Draws what it is given: brightness, contrast and saturation, and the turn of the hue."""

    def __init__(self, brightness=1.0, contrast=1.0, saturation=1.0, turn=0.0):
        self.draws = iter(([brightness, contrast, saturation], turn))

    def uniform(self, lowest, highest, count=None):
        return next(self.draws)


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ({}, [(100, 50, 150), (60, 120, 0)]),
        ({"brightness": 1.2}, [(120, 60, 180), (72, 144, 0)]),
        # Luma: 0.299 red + 0.587 green + 0.114 blue is 76 and 88, so the mean is 82.
        ({"contrast": 0.5}, [(91, 66, 116), (71, 101, 41)]),
        ({"contrast": 2.0}, [(118, 18, 218), (38, 158, 0)]),
        ({"saturation": 0.0}, [(76, 76, 76), (88, 88, 88)]),
        ({"brightness": 2.0, "contrast": 0.0}, [(164, 164, 164), (164, 164, 164)]),
    ],
)
def test_jitter_by_hand(factors, expected):
    image = Image.fromarray(np.array([[(100, 50, 150), (60, 120, 0)]], "uint8"))
    found = np.asarray(jitter_colors(image, 0.4, Factors(**factors)))
    np.testing.assert_allclose(found[0].astype(int), expected, atol=1)


def test_a_turned_hue_keeps_luma_and_comes_back_after_the_whole_circle():
    pixels = np.random.default_rng(0).integers(80, 176, (4, 5, 3)).astype("uint8")
    image = Image.fromarray(pixels)
    third, half, whole = (
        jitter_colors(image, 0.4, Factors(turn=turn)) for turn in (1 / 3, 1 / 2, 1.0)
    )
    np.testing.assert_allclose(np.asarray(whole).astype(int), pixels, atol=1)
    lumas = [np.asarray(turned.convert("L")).astype(int) for turned in (image, third, half)]
    np.testing.assert_allclose(lumas[1], lumas[0], atol=1)
    np.testing.assert_allclose(lumas[2], lumas[0], atol=1)
    # Half a circle takes every colour to the other side of gray.
    sums = np.asarray(half).astype(int) + pixels
    np.testing.assert_allclose(sums, np.broadcast_to(2 * lumas[0][..., None], sums.shape), atol=2)


def test_nearest_neighbour_is_pillows():
    rng = np.random.default_rng(0)
    for side, new_side in rng.integers(1, 90, (300, 2)).tolist():
        line = Image.fromarray(np.arange(side, dtype="uint8")[None])
        for box in (None, (side * 0.1, 0, side * 0.7, 1)):
            expected = line.resize((new_side, 1), Image.Resampling.NEAREST, box=box)
            found = nearest_indices(side, new_side, box and (box[0], box[2]))
            np.testing.assert_array_equal(found, np.asarray(expected)[0])


# Height and width; portraits are the minority, as in photographs.
AWKWARD = ((23, 37), (40, 31), (17, 90), (64, 64), (51, 50), (33, 129), (90, 17), (29, 30), (45, 8))
EDGES = (24, 37, 50)


@pytest.fixture
def awkward(tmp_path):
    """A folder of images of many shapes, whose labels begin at 1: 0 does not count."""
    rng = np.random.default_rng(1)
    for index, size in enumerate(AWKWARD):
        for kind, array in (
            ("images", rng.integers(0, 256, (*size, 3))),
            ("annotations", rng.integers(0, 4, size)),
        ):
            path = tmp_path / kind / "train" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype("uint8")).save(path)
    return FolderDataset(tmp_path, "train", THREE, label_offset=1)


def whole_images_of(dataset, **options):
    return paper_batches(
        dataset, **{"batch_size": 4, "short_edges": EDGES, "max_size": 70, **options}
    )


def literal_groups(portrait, batch_size, seed):
    """The reference's grouping, word for word: a list per orientation, filled one by one."""
    lists = {True: [], False: []}
    for number in itertools.count():
        for index in np.random.default_rng((seed, 0, number)).permutation(len(portrait)).tolist():
            orientation = lists[bool(portrait[index])]
            orientation.append(index)
            if len(orientation) == batch_size:
                yield list(orientation)
                orientation.clear()


def literal_batches(root, batch_size, seed, mean):
    """The reference's loader, sample by sample, in NumPy and Pillow; images less the mean."""
    portrait = [height > width for height, width in AWKWARD]
    for step, indices in enumerate(literal_groups(portrait, batch_size, seed)):
        rng = np.random.default_rng((seed, 1, step))
        short_edge = EDGES[rng.integers(len(EDGES))]
        flips = rng.random(batch_size) < 0.5
        scaled, labels = [], []
        for index, flip in zip(indices, flips, strict=True):
            image = Image.open(root / "images" / "train" / f"{index}.png")
            label = Image.open(root / "annotations" / "train" / f"{index}.png")
            if flip:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
                label = label.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            scale = min(short_edge / min(image.size), 70 / max(image.size))
            size = (int(image.width * scale), int(image.height * scale))
            scaled.append(image.resize(size, Image.Resampling.BILINEAR))
            label = label.resize(size, Image.Resampling.NEAREST)
            rounded = Image.new("L", tuple(-(-side // 8) * 8 for side in size), 0)
            rounded.paste(label, (0, 0))
            size = (rounded.width // 8, rounded.height // 8)
            labels.append(rounded.resize(size, Image.Resampling.NEAREST))
        height = -(-max(image.height for image in scaled) // 8) * 8
        width = -(-max(image.width for image in scaled) // 8) * 8
        images = np.zeros((batch_size, height, width, 3), "float32")
        targets = np.zeros((batch_size, height // 8, width // 8), "uint8")
        for row, (image, label) in enumerate(zip(scaled, labels, strict=True)):
            images[row, : image.height, : image.width] = np.float32(image) - mean
            targets[row, : label.height, : label.width] = np.asarray(label)
        yield images, (targets - 1).astype("uint8").astype("int32")


def test_whole_images_equal_a_literal_loaders(awkward):
    mean = np.array(pixel_mean("torch"), "float32")
    found = take(whole_images_of(awkward, seed=3, pad_color=pixel_mean("torch")), 20)
    expected = itertools.islice(literal_batches(awkward.root, 4, 3, mean), 20)
    assert_same([(images - mean, labels) for images, labels in found], expected)
    # The draws meet every short edge, both orientations, and sides cut by `max_size`.
    assert len({images.shape for images, _ in found}) > 5


def test_the_same_seed_gives_the_same_whole_images_from_any_step(awkward):
    first = take(whole_images_of(awkward), 8)
    assert_same(first[5:], take(whole_images_of(awkward, start_step=5), 3))
    other = take(whole_images_of(awkward, seed=1), 8)
    assert [image.shape for image, _ in first] != [image.shape for image, _ in other]


@pytest.mark.parametrize(
    ("portraits", "count", "batch_size"),
    [(2, 7, 2), (4, 20, 8), (1, 3, 4), (25, 50, 3), (0, 5, 2), (5, 5, 2), (1, 1, 8), (1, 9, 8)],
)
def test_groups_equal_a_literal_loaders(portraits, count, batch_size):
    portrait = np.random.default_rng(0).permutation(count) < portraits
    groups = OrientationBatches(portrait, batch_size, seed=5)
    expected = list(itertools.islice(literal_groups(portrait, batch_size, 5), 40))
    # In any order: no batch needs those before it.
    for step in np.random.default_rng(0).permutation(40).tolist():
        assert groups.indices(step).tolist() == expected[step]
    assert all(len(set(portrait[batch])) == 1 for batch in expected)


def test_no_image_is_lost_or_comes_twice_in_a_pass():
    portrait = np.random.default_rng(0).random(101) < 0.3
    groups = OrientationBatches(portrait, 8, seed=0)
    seen = np.bincount(np.concatenate([groups.indices(step) for step in range(100)]))
    # Of 800 images, all but what the two lists still hold have come seven or eight times.
    assert set(seen) <= {7, 8}


def test_a_late_step_equals_a_literal_loaders():
    portrait = np.random.default_rng(0).random(997) < 0.2
    late = next(itertools.islice(literal_groups(portrait, 8, 0), 20_000, None))
    assert OrientationBatches(portrait, 8, seed=0).indices(20_000).tolist() == late


def test_orders_differ_from_pass_to_pass_and_from_seed_to_seed():
    orders = {tuple(shuffled(seed, number, 9)) for seed in range(3) for number in range(3)}
    assert len(orders) == 9
    with pytest.raises(ValueError, match="read-only"):
        shuffled(0, 0, 9)[0] = 1


def test_padding_is_nothing_to_the_model_and_does_not_count(awkward):
    normalise = PixelNormalization("caffe")
    options = {"pad_color": pixel_mean("caffe"), "flip": False, "batch_size": 5}
    for images, labels in take(whole_images_of(awkward, **options), 6):
        assert images.shape[1] % 8 == 0
        assert images.shape[2] % 8 == 0
        assert labels.shape == (5, images.shape[1] // 8, images.shape[2] // 8)
        assert set(np.unique(labels)) <= {0, 1, 2, 255}
        padded = (np.asarray(normalise(images)) == 0).all(-1)
        # Whole rows and columns are padding, and every label whose middle lies there is ignored.
        assert padded.any()
        assert (labels[padded[:, 4::8, 4::8]] == 255).all()


@pytest.mark.parametrize("stride", [1, 4, 16])
def test_labels_at_other_strides(awkward, stride):
    for images, labels in take(whole_images_of(awkward, label_stride=stride), 4):
        assert images.shape[1] % 8 == 0
        assert labels.shape[1:] == (images.shape[1] // stride, images.shape[2] // stride)


def test_whole_images_have_labels_from_any_start(awkward):
    for (images, coarse), (same, fine) in zip(
        take(whole_images_of(awkward, label_stride=16, label_start=3), 3),
        take(whole_images_of(awkward, label_stride=1), 3),
        strict=True,
    ):
        height, width = same.shape[1:3]
        np.testing.assert_array_equal(images[:, :height, :width], same)
        found = coarse[:, : len(range(3, height, 16)), : len(range(3, width, 16))]
        np.testing.assert_array_equal(found, fine[:, 3::16, 3::16])


def test_labels_are_subsampled_from_the_middle_of_their_cell():
    label = np.arange(20 * 30).reshape(20, 30)
    rows, columns = np.arange(20)[::-1], np.arange(30)
    np.testing.assert_array_equal(subsample_label(label, rows, columns, 8), label[::-1][4::8, 4::8])
    np.testing.assert_array_equal(subsample_label(label, rows, columns, 3), label[::-1][1::3, 1::3])


def test_whole_images_fill_two_replicas(awkward, two_replicas):
    batches = two_replicas.experimental_distribute_dataset(whole_images_of(awkward))
    expected = take(whole_images_of(awkward), 6)
    for (images, labels), (image, label) in zip(batches, expected, strict=False):
        halves = [two_replicas.experimental_local_results(parts) for parts in (images, labels)]
        assert [half.shape[0] for half in halves[0]] == [2, 2]
        np.testing.assert_array_equal(np.concatenate(halves[0]), image)
        np.testing.assert_array_equal(np.concatenate(halves[1]), label)


def test_sizes_are_known_without_decoding(awkward):
    assert tuple(awkward.size(index) for index in range(len(AWKWARD))) == AWKWARD
    path = awkward.root / "images" / "train" / "0.png"
    path.write_bytes(path.read_bytes()[:100])  # the header
    assert awkward.size(0) == AWKWARD[0]
    with pytest.raises(DataError, match=r"0\.png"):
        awkward.read(0)
    scenes = SyntheticDataset("train", size=(20, 30))
    assert scenes.size(7) == (20, 30)
    assert SegmentationDataset.size(scenes, 7) == (20, 30)


def test_an_image_that_changes_during_a_run_is_reported(awkward):
    batches = whole_images_of(awkward)
    for kind, mode in (("images", "RGB"), ("annotations", "L")):
        for path in (awkward.root / kind / "train").iterdir():
            Image.new(mode, (5, 6)).save(path)
    with pytest.raises(Exception, match=r"the image is 6 x 5 .*do not change the data"):
        take(batches, 1)


@pytest.mark.slow
def test_a_program_ends_while_it_holds_batches():
    script = (
        "import pdanet_tf\n"
        "from pdanet_tf.data.batches.pipeline import crop_batches\n"
        "dataset = pdanet_tf.load_dataset('synthetic', 'train')\n"
        "batches = iter(crop_batches(dataset, 8, (256, 256)))\n"
        "next(batches)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_size": (0, 24)}, r"at least 1.*\(0, 24\)"),
        ({"crop_size": (20,)}, r"\(height, width\).*\(20,\)"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"scale_range": (2.0, 0.5)}, "scale_range"),
        ({"scale_range": (0.0, 1.0)}, "scale_range"),
        ({"color_jitter": 1.5}, "color_jitter=1.5"),
        ({"label_stride": 0}, "label_stride=0"),
        ({"label_start": -1}, "label_start=-1"),
    ],
)
def test_bad_crop_arguments(make_folder, options, message):
    with pytest.raises(ValueError, match=message):
        crops_of(open_folder(make_folder()), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"short_edges": ()}, r"short_edges=\(\)"),
        ({"short_edges": (300, 0)}, r"short_edges=\(300, 0\)"),
        ({"max_size": 0}, "max_size=0"),
        ({"label_stride": 0}, "label_stride=0"),
        ({"label_start": -1}, "label_start=-1"),
    ],
)
def test_bad_whole_image_arguments(awkward, options, message):
    with pytest.raises(ValueError, match=message):
        whole_images_of(awkward, **options)
