"""Splits: stratified, by group, by lists; the same each time."""

import numpy as np
import pytest

from pdanet_tf.data import DataError
from pdanet_tf.data.importing.splits import find_groups, stratified
from pdanet_tf.data.split_lists import split_by_lists


def test_every_class_occurs_in_its_share():
    rng = np.random.default_rng(0)
    presence = rng.random((200, 6)) < [0.9, 0.5, 0.3, 0.1, 0.05, 0.02]
    names = [f"{index:03}" for index in range(200)]
    chosen = np.array(stratified(presence, names, 0.2, seed=0))
    assert abs(chosen.sum() - 40) <= 2
    shares = presence[chosen].sum(0) / presence.sum(0)
    np.testing.assert_allclose(shares, 0.2, atol=0.07)
    assert presence[chosen].any(0).all()
    assert presence[~chosen].any(0).all()
    assert chosen.tolist() == stratified(presence, names, 0.2, seed=0)
    assert chosen.tolist() != stratified(presence, names, 0.2, seed=1)


def test_a_rare_class_gets_an_image_in_both_splits():
    presence = np.ones((10, 2), bool)
    presence[2:, 1] = False
    chosen = np.array(stratified(presence, [str(index) for index in range(10)], 0.2, seed=0))
    assert chosen[:2].sum() == 1
    assert chosen.sum() == 2


def test_groups_stay_together():
    names = [f"clip{index // 5}/frame_{index}" for index in range(50)]
    groups = find_groups(names, r"^(clip\d+)/")
    assert groups[::5] == [f"clip{index}" for index in range(10)]
    chosen = np.array(stratified(np.ones((50, 1), bool), groups, 0.2, seed=0)).reshape(10, 5)
    assert (chosen.all(1) | ~chosen.any(1)).all()
    assert chosen.any(1).sum() == 2
    with pytest.raises(DataError, match=r"nothing in 1 name"):
        find_groups([*names, "other"], r"^clip\d+")
    with pytest.raises(ValueError, match="regular expression"):
        find_groups(names, "(")


def test_no_validation():
    assert not any(stratified(np.ones((5, 1), bool), list("abcde"), 0, seed=0))


def test_lists_of_files(tmp_path):
    names = ["one/a.1", "one/b", "two/b", "two/c"]
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    train.write_text("a.1.jpg\n/data/images/one/b.png\n\n")
    test.write_text("# a comment\nc\n")
    lists = {"train": train, "test": test}
    assert split_by_lists(names, lists) == ["train", "train", None, "test"]
    lists = {"train": train}
    train.write_text("frame.1\n/elsewhere/two/c.2.jpg\n")
    names_with_dots = ["frame", "frame.1", "c", "two/c.2", "two/c"]
    assert split_by_lists(names_with_dots, lists) == [None, "train", None, "train", None]
    train.write_text("b\n")  # the whole name of one, the end of the other
    assert split_by_lists(["one/b", "b"], lists) == [None, "train"]
    train.write_text("seq2/001.png\n")
    with pytest.raises(DataError, match=r"'seq2/001.png', which is the name of no image"):
        split_by_lists(["seq1/001"], lists)


def test_wrong_lists_of_files(tmp_path):
    names = ["one/a.1", "one/b", "two/b", "two/c"]
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    lists = {"train": train, "test": test}
    train.write_text("a.1.jpg\n/data/images/one/b.png\n\n")
    test.write_text("b\nd\na.1\n")
    with pytest.raises(DataError) as error:
        split_by_lists(names, lists)
    assert "line 1 is 'b', which is the name of 2 images" in str(error.value)
    assert "line 2 is 'd', which is the name of no image" in str(error.value)
    assert "line 3 is 'a.1', which is also in train" in str(error.value)
