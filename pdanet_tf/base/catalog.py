"""Names, families and sizes of the models. Importing it imports neither Keras nor TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Family:
    """Models with the same head.

    Attributes:
        title: Description in one line.
        parameters: Number of parameters with 150 classes, without deep supervision, by the name
            of the backbone; None if it is not known.
        variants: Names of its backbones by variant, see `pdanet_tf.models.registry`.
    """

    title: str
    parameters: Mapping[str, int | None]
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")

# A test compares the names with the registered models, and the numbers with the built ones.
# `register_family` adds the families of other packages when they are imported.
FAMILIES: dict[str, Family] = {
    "pdanet": Family(
        "PDANet: a pyramid of dual attention",
        {
            "resnet18": 29_471_966,
            "resnet34": 39_587_550,
            "resnet50": 139_415_390,
            "resnet101": 158_459_742,
            "resnet18_half": 7_398_078,
            "resnet18_quarter": 1_864_622,
        },
    ),
    "pspnet": Family(
        "PSPNet: a pyramid of pooled scales",
        {
            "resnet18": 24_267_350,
            "resnet34": 34_382_934,
            "resnet50": 46_841_174,
            "resnet101": 65_885_526,
            "resnet18_half": 6_094_198,
            "resnet18_quarter": 1_537_286,
            "mobilenetv2": 13_497_558,
        },
        {"smp": _RESNETS, "mmsegmentation": _RESNETS},
    ),
    "danet": Family(
        "DANet: dual attention over the whole image",
        {
            "resnet18": 12_851_704,
            "resnet34": 22_967_288,
            "resnet50": 47_691_736,
            "resnet101": 66_736_088,
            "resnet18_half": 3_223_880,
            "resnet18_quarter": 811_504,
        },
        {"mmsegmentation": _RESNETS},
    ),
    "upernet": Family(
        "UPerNet: a feature pyramid under a pyramid of pooled scales, without dilation",
        {
            "resnet18": 41_026_134,
            "resnet34": 51_141_718,
            "resnet50": 64_288_086,
            "resnet101": 83_332_438,
            "resnet18_half": 10_287_478,
            "resnet18_quarter": 2_587_398,
        },
        {"mmsegmentation": _RESNETS},
    ),
    "fcn": Family(
        "FCN: one convolution on dilated features, without dropout as in the reference",
        {
            "resnet18": 11_944_790,
            "resnet34": 22_060_374,
            "resnet50": 33_201_494,
            "resnet101": 52_245_846,
            "resnet18_half": 2_996_726,
            "resnet18_quarter": 754_502,
            "mobilenetv2": 2_086_134,
        },
        {"torchvision": ("resnet50", "resnet101"), "mmsegmentation": _RESNETS},
    ),
    "deeplabv3plus": Family(
        "DeepLab v3+: DeepLab v3 with a decoder that sees the details of C2",
        {
            "resnet18": 16_804_118,
            "resnet34": 26_919_702,
            "resnet50": 40_566_806,
            "resnet101": 59_611_158,
        },
        {"smp": _RESNETS, "mmsegmentation": _RESNETS},
    ),
    "deeplabv3": Family(
        "DeepLab v3: atrous spatial pyramid pooling with the image's average",
        {
            "resnet18": 16_099_414,
            "resnet34": 26_214_998,
            "resnet50": 39_852_886,
            "resnet101": 58_897_238,
        },
        {"torchvision": ("resnet50", "resnet101"), "smp": _RESNETS, "mmsegmentation": _RESNETS},
    ),
    "deeplabv2": Family(
        "DeepLab v2: atrous spatial pyramid pooling, the scores of four rates summed",
        {
            "resnet101": 53_789_464,
            "vgg16": 38_406_552,
        },
        {"published": ("resnet101", "vgg16")},
    ),
    "deeplab_largefov": Family(
        "DeepLab-LargeFOV: VGG16's fc6 as a 3 x 3 convolution of dilation 12",
        {
            "vgg16": 20_637_654,
        },
        {"published": ("vgg16",)},
    ),
    "fcn8s": Family(
        "FCN-8s: FCN-16s with the scores of C3 added",
        {
            "vgg16": 134_990_594,
        },
        {"published": ("vgg16",)},
    ),
    "fcn16s": Family(
        "FCN-16s: FCN-32s with the scores of C4 added",
        {
            "vgg16": 134_952_044,
        },
        {"published": ("vgg16",)},
    ),
    "fcn32s": Family(
        "FCN-32s: VGG16's fully connected layers as convolutions",
        {
            "vgg16": 134_875_094,
        },
        {"published": ("vgg16",)},
    ),
    "dilation_large": Family(
        "Dilated front end with the large context module",
        {
            "vgg16": 481_884_644,
        },
        {"published": ("vgg16",)},
    ),
    "dilation_basic": Family(
        "Dilated front end with the basic context module",
        {
            "vgg16": 136_316_294,
        },
        {"published": ("vgg16",)},
    ),
    "dilation_frontend": Family(
        "Dilated front end: VGG16 without its last two pools",
        {
            "vgg16": 134_875_094,
        },
        {"published": ("vgg16",)},
    ),
    "segnet": Family(
        "SegNet: a decoder that puts every maximum back where the encoder found it",
        {
            "vgg16": 29_537_494,
            "basic": 1_426_134,
        },
        {"published": ("vgg16", "basic")},
    ),
}


def model_names() -> list[str]:
    """Returns the names of all models, family by family, starting with PDANet."""
    return [
        f"{name}_{backbone}" for name, family in FAMILIES.items() for backbone in family.parameters
    ]
