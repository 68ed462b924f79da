"""The reliability diagram: how often predictions are right, over their probability."""

from pdanet_tf.evaluation.calibration import Calibration

_SIDE = 300  # pixels
_FEW = 1e-4  # share of all pixels; the accuracy of a bin with fewer says little
# In a file of its own the diagram has a white page and dark text, whatever surrounds it.
_ALONE = (
    ' xmlns="http://www.w3.org/2000/svg" style="background: #fff; color: #1c1c1c; '
    'font-family: sans-serif"'
)


def reliability_diagram(calibration: Calibration, alone: bool = False) -> str:
    """Draws a bar of the accuracy of each bin, and the diagonal, as SVG.

    The bar of a bin with fewer than one in 10,000 of the pixels is hollow.

    Args:
        calibration: Pixels by probability.
        alone: Whether the drawing is a file of its own. Otherwise it has the colours of the page
            that it is a part of, see `pdanet_tf.html_page`.

    Source:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", figure 1.
    """
    width = _SIDE / len(calibration.pixels)
    total = calibration.pixels.sum()
    bars = []
    for index, (accuracy, pixels) in enumerate(
        zip(calibration.accuracy.tolist(), calibration.pixels.tolist(), strict=True)
    ):
        if pixels:
            blue = "rgb(40 110 230)" if alone else "rgb(var(--share-color))"
            look = f'fill="{blue}" stroke="{"#fff" if alone else "var(--page)"}"'
            if pixels < _FEW * total:
                look = f'fill="none" stroke="{blue}"'
            bars.append(
                f'<rect x="{index * width:.1f}" y="{_SIDE * (1 - accuracy):.1f}" '
                f'width="{width:.1f}" height="{_SIDE * accuracy:.1f}" {look}/>'
            )
    text = 'fill="currentColor" font-size="12"'
    ticks = "".join(
        f'<text x="-8" y="{_SIDE * (1 - value) + 4:.0f}" text-anchor="end" {text}>{value}</text>'
        f'<text x="{_SIDE * value:.0f}" y="{_SIDE + 16}" text-anchor="middle" {text}>{value}</text>'
        for value in (0, 0.5, 1)
    )
    return (
        f'<svg role="img" aria-label="Reliability diagram: accuracy over probability; the table '
        f'below has its values" '
        f'viewBox="-50 -10 {_SIDE + 65} {_SIDE + 50}" width="{_SIDE + 65}"{_ALONE * alone}>'
        f'{"".join(bars)}<path d="M0 0V{_SIDE}H{_SIDE}M0 {_SIDE}L{_SIDE} 0" fill="none" '
        f'stroke="currentColor"/>{ticks}'
        f'<text x="{_SIDE / 2:.0f}" y="{_SIDE + 32}" text-anchor="middle" {text}>probability of '
        f'the predicted class</text><text transform="translate(-36 {_SIDE / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle" {text}>accuracy</text></svg>'
    )
