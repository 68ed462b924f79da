import re

import pytest

from pdanet_tf.base.loss_names import LOSS_PARAMETERS, parse_loss
from pdanet_tf.losses import OHEM, SegmentationCrossEntropy, Tversky, WeightedSum, make_loss
from pdanet_tf.losses.names import LOSSES
from pdanet_tf.training import TrainConfig


def test_names_and_parameters_are_those_of_the_classes():
    assert LOSS_PARAMETERS.keys() == LOSSES.keys()
    for name, parameters in LOSS_PARAMETERS.items():
        assert set(parameters) <= LOSSES[name]().get_config().keys()


def test_texts():
    assert type(make_loss("ce")) is SegmentationCrossEntropy
    loss = make_loss(" 0.7*ce + 1e-1 * tversky(alpha=0.3, beta=0.7) + ohem(fraction=1)", 3, [1, 2])
    assert isinstance(loss, WeightedSum)
    assert loss.weights == [0.7, 0.1, 1.0]
    assert [type(each) for each in loss.losses] == [SegmentationCrossEntropy, Tversky, OHEM]
    assert (loss.losses[1].alpha, loss.losses[1].beta, loss.losses[2].fraction) == (0.3, 0.7, 1.0)
    assert all(each.ignore_label == 3 for each in loss.losses)
    assert all(each.class_weights == (1.0, 2.0) for each in loss.losses)
    assert make_loss("dice+ce", label_smoothing=0.1).losses[1].label_smoothing == 0.1
    assert isinstance(make_loss("2*ce"), WeightedSum)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dise", "Received: loss='dise' (did you mean 'dice'?)"),
        ("ce+0.5*lovas", "(did you mean 'lovasz'?)"),
        ("ohem(treshold=0.7)", "'treshold' (did you mean 'threshold'?); it takes fraction, thresh"),
        ("ce(gamma=2)", "The loss 'ce' has no parameter 'gamma'; it takes none"),
        ("-1*ce", "factor of a loss must be above 0. Received: -1"),
        ("0*ce", "factor of a loss must be above 0"),
        ("1e999*ce", "factor of a loss must be above 0"),
        ("ce*0.5", "a sum such as '0.7*ce+0.3*lovasz'"),
        ("ce-dice", "a sum such as"),
        ("", "a sum such as"),
        ("ce+", "a sum such as"),
        ("focal(2)", "a sum such as"),
        ("focal(gamma=__import__('os'))", "a sum such as"),
        ("focal(gamma=True)", "a sum such as"),
        ("focal(gamma=2, gamma=3)", "a sum such as"),
        ("focal(**{})", "a sum such as"),
        ("ce\0", "a sum such as"),
        ("+".join(["ce"] * 10000), "a sum such as"),
        ("(" * 900, "a sum such as"),
    ],
)
def test_bad_texts(text, message):
    for function in (parse_loss, lambda text: TrainConfig(loss=text)):
        with pytest.raises(ValueError, match=re.escape(message)) as error:
            function(text)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 350


def test_values_out_of_range_and_smoothing_without_cross_entropy():
    with pytest.raises(ValueError, match="fraction must be above 0"):
        make_loss("ohem(fraction=2)")
    with pytest.raises(ValueError, match="label_smoothing requires the loss 'ce'"):
        make_loss("dice", label_smoothing=0.1)
