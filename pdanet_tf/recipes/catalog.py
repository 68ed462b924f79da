"""The named recipes. They state what their sources state, even where that is the default."""

from types import MappingProxyType

from pdanet_tf.base.choices import check_choice
from pdanet_tf.recipes.recipe import Recipe
from pdanet_tf.training.config import TrainConfig

_PAPER_ADE20K = Recipe(
    name="paper-ade20k",
    summary="PDANet on ADE20K, as in its paper (table 1)",
    source="the PDANet paper and https://github.com/lgqfhwy/PDANet, whose learning rate is 0.02",
    score="not measured here; published: mean IoU 0.3768, pixel accuracy 0.7844",
    requires="data_dir, and the extra torch for the ImageNet weights",
    config=TrainConfig(
        output_dir="runs/paper-ade20k",
        model="pdanet_resnet18",
        stem="deep",
        backbone_weights="imagenet",
        dataset="ade20k",
        recipe="paper",
        short_edges=(300, 375, 450, 525, 600),
        max_size=1000,
        flip=True,
        batch_size=8,
        epochs=20,
        steps_per_epoch=5000,
        optimizer="sgd",
        learning_rate=1e-2,
        momentum=0.9,
        weight_decay=1e-4,
        schedule="poly",
        power=0.9,
        loss="ce",
        loss_size="logits",
    ),
)

# One difference remains: the source draws a short edge for the two images of each GPU, this package
# draws one for all 16 images of a step.
_CSAIL_ADE20K = Recipe(
    name="csail-ade20k",
    summary="PSPNet on ResNet50 with deep supervision on ADE20K, as CSAIL trains it",
    source="https://github.com/CSAILVision/semantic-segmentation-pytorch, "
    "config/ade20k-resnet50dilated-ppm_deepsup.yaml, on 8 GPUs with 2 images each",
    score="not measured here; published: mean IoU 0.4126, pixel accuracy 0.7973",
    requires="data_dir, and the extra torch for the ImageNet weights",
    config=TrainConfig(
        output_dir="runs/csail-ade20k",
        model="pspnet_resnet50",
        stem="deep",
        backbone_weights="imagenet",
        aux_head=True,
        aux_weight=0.4,
        dataset="ade20k",
        recipe="paper",
        short_edges=(300, 375, 450, 525, 600),
        max_size=1000,
        flip=True,
        batch_size=16,
        epochs=20,
        steps_per_epoch=5000,
        optimizer="sgd",
        learning_rate=2e-2,
        momentum=0.9,
        weight_decay=1e-4,
        schedule="poly",
        power=0.9,
        loss="ce",
        loss_size="logits",
        seed=304,
    ),
)

# What the two best published results without pre-training share. The sources also train on the
# validation images, draw one of six scales from 0.75 to 2, and begin the warm-up at a third of the
# learning rate; LMFFNet weighs classes by 1 / log(1.10 + frequency), "log" is ENet's 1.02.
_CAMVID_FROM_SCRATCH = Recipe(
    name="camvid-from-scratch",
    summary="PDANet on CamVid from random weights, at full resolution",
    source="https://github.com/Greak-1124/LMFFNet (train.py and its README), and "
    "https://github.com/Reagan1311/DABNet, which differs in the batch size (16)",
    score="not measured here; published for other models, 233 test images, also trained on the "
    "validation images: LMFFNet 0.691, DABNet 0.667",
    requires="data_dir",
    config=TrainConfig(
        output_dir="runs/camvid-from-scratch",
        model="pdanet_resnet18",
        dataset="camvid",
        recipe="crop",
        crop_size=(360, 480),
        scale_range=(0.75, 2.0),
        flip=True,
        color_jitter=0.0,
        batch_size=8,
        epochs=1000,
        optimizer="adam",
        learning_rate=1e-3,
        weight_decay=2e-4,
        schedule="poly",
        power=0.9,
        warmup_steps=500,
        loss="ce",
        loss_size="labels",
        class_weights="log",
    ),
)

# Training and validation images have the same size, and 180 x 240 gives features of 23 x 30. The
# learning rate is five times that of the paper, because the classes are weighted and the budget is
# small.
_CAMVID_COMPARISON = Recipe(
    name="camvid-comparison",
    summary="any model on CamVid from random weights at 240 x 180, to compare models",
    source="our choice, the same for every model; momentum, weight decay and schedule are those "
    "of the PDANet paper, the class weights those of ENet (Paszke et al. 2016, arXiv:1606.02147)",
    score="not measured here",
    requires="data_dir",
    config=TrainConfig(
        output_dir="runs/camvid-comparison",
        model="pdanet_resnet18",
        dataset="camvid",
        recipe="crop",
        short_edge=180,
        crop_size=(180, 240),
        scale_range=(0.5, 2.0),
        flip=True,
        color_jitter=0.0,
        batch_size=8,
        epochs=60,
        optimizer="sgd",
        learning_rate=0.05,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-4,
        schedule="poly",
        power=0.9,
        loss="ce",
        loss_size="labels",
        class_weights="log",
    ),
)

# DeepLab trains the pre-trained network with 1e-3 and the new classifier with ten times as much.
# For small data sets we add class weights (those of "log" are between 1.4 and 50.5), the loss at
# full resolution, and patience. `freeze="backbone"` trains the head alone, which takes less time.
_FINE_TUNE = Recipe(
    name="fine-tune",
    summary="PDANet on a folder of your own, from ImageNet weights",
    source="learning rates of DeepLab (Chen et al. 2018, arXiv:1606.00915); the other values are "
    "our choice",
    score="not measured here",
    requires="data_dir, num_classes or class_names, and the extra torch for the ImageNet weights",
    config=TrainConfig(
        output_dir="runs/fine-tune",
        model="pdanet_resnet18",
        stem="deep",
        backbone_weights="imagenet",
        dataset="folder",
        recipe="crop",
        epochs=50,
        patience=10,
        optimizer="sgd",
        learning_rate=1e-2,
        backbone_lr=0.1,
        momentum=0.9,
        schedule="poly",
        power=0.9,
        loss="ce",
        loss_size="labels",
        class_weights="log",
    ),
)

RECIPES = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            _PAPER_ADE20K,
            _CSAIL_ADE20K,
            _CAMVID_FROM_SCRATCH,
            _CAMVID_COMPARISON,
            _FINE_TUNE,
        )
    }
)


def find(name: str) -> Recipe:
    """Returns a recipe by its name.

    Args:
        name: One of `RECIPES`.

    Raises:
        ValueError: If there is no such recipe; the message names the nearest one.

    Example:
        ```python
        print(pdanet_tf.recipes.find("csail-ade20k").source)
        ```
    """
    check_choice("recipe", name, tuple(RECIPES))
    return RECIPES[name]
