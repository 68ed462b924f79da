"""Streets drawn from a number: sample images for models of road scenes."""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pdanet_tf.data.palette import Color

_OVERSAMPLING = 2
_CAMERA = 1.5  # metres above the road
_FOCAL = 0.85  # in widths of the image
_HORIZON = 0.45  # in heights of the image
_KERB, _FRONT = 4.2, 7.5  # metres from the middle of the road to the kerb, and to the houses
_NEAR, _FAR = 2.2, 90.0  # metres from the camera
_WALLS = ((139, 96, 80), (160, 146, 124), (121, 112, 106), (150, 118, 96), (108, 84, 74))
_CARS = ((52, 56, 66), (150, 152, 156), (116, 34, 34), (40, 58, 92), (196, 196, 194))
_COATS = ((40, 40, 48), (96, 54, 50), (54, 66, 92), (110, 100, 80))


class _Scene:
    """A picture that is drawn in metres: to the right of the road's middle, up, and ahead."""

    def __init__(self, size: tuple[int, int], rng: np.random.Generator) -> None:
        self.height, self.width = (side * _OVERSAMPLING for side in size)
        self.rng = rng
        self.image = Image.new("RGB", (self.width, self.height))
        self.draw = ImageDraw.Draw(self.image)
        self.middle = self.width * rng.uniform(0.42, 0.58)

    def at(self, right: float, up: float, ahead: float) -> tuple[float, float]:
        """Returns the pixel, x and y, at which a point is seen."""
        scale = _FOCAL * self.width / ahead
        return self.middle + right * scale, self.height * _HORIZON + (_CAMERA - up) * scale

    def fill(self, color: Color, *points: tuple[float, float, float]) -> None:
        self.draw.polygon([self.at(*point) for point in points], fill=color)

    def wall(self, color: Color, right: float, low: float, high: float, *ahead: float) -> None:
        """Fills a rectangle along the road."""
        near, far = ahead
        self.fill(
            color,
            (right, low, near),
            (right, high, near),
            (right, high, far),
            (right, low, far),
        )

    def ground(self, color: Color, left: float, right: float) -> None:
        """Fills a strip of the ground, up to the horizon."""
        self.fill(color, (left, 0, _NEAR), (right, 0, _NEAR), (right, 0, 400), (left, 0, 400))

    def upright(
        self, color: Color, right: float, low: float, ahead: float, width: float, height: float
    ) -> None:
        """Fills a rectangle that faces the camera."""
        (x0, y0), (x1, y1) = self.at(right, low + height, ahead), self.at(right + width, low, ahead)
        self.draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), fill=color)

    def shade(self, color: Color, spread: float = 12) -> Color:
        """Returns a color that differs a little."""
        red, green, blue = np.clip(np.array(color) + self.rng.normal(0, spread), 0, 255)
        return int(red), int(green), int(blue)


def draw_street(number: int, size: tuple[int, int]) -> np.ndarray:
    """Draws a street as it is seen from a car.

    Args:
        number: The same number gives the same street.
        size: (height, width).

    Returns:
        `(height, width, 3)`, uint8, RGB.
    """
    scene = _Scene(size, np.random.default_rng((7, number)))
    rng = scene.rng
    _draw_sky(scene)
    scene.ground((104, 104, 92), -40, 40)
    scene.ground((148, 143, 136), -_FRONT, _FRONT)
    scene.ground((84, 84, 88), -_KERB, _KERB)
    for side in (-1, 1):
        scene.ground((176, 172, 164), side * _KERB - 0.12, side * _KERB + 0.12)
    for ahead in np.arange(_NEAR, _FAR, 6.0):
        mark = [(-0.07, 0, ahead), (0.07, 0, ahead), (0.07, 0, ahead + 3), (-0.07, 0, ahead + 3)]
        scene.fill((196, 196, 192), *mark)
    for side in (-1, 1):
        for near, far in reversed([*_lots(rng)]):
            _draw_house(scene, side * _FRONT, near, far)
    things = [
        (ahead, _draw_tree, side * rng.uniform(5.6, 6.8))
        for side in (-1, 1)
        for ahead in rng.uniform(9, 60, rng.integers(2, 6))
    ]
    things += [
        (ahead, _draw_lamp, side * (_KERB + 0.5))
        for side in (-1, 1)
        for ahead in rng.uniform(7, 50, 2)
    ]
    things += [
        (ahead, _draw_car, side * rng.uniform(2.4, 3.0))
        for side in (-1, 1)
        for ahead in rng.uniform(8, 45, rng.integers(1, 4))
    ]
    things += [
        (ahead, _draw_walker, side * rng.uniform(4.8, 6.2))
        for side in (-1, 1)
        for ahead in rng.uniform(7, 25, rng.integers(0, 3))
    ]
    for ahead, draw_thing, right in sorted(things, key=lambda thing: -thing[0]):
        draw_thing(scene, right, ahead)
    return _photograph(scene.image, size, rng)


def _draw_sky(scene: _Scene) -> None:
    spots = scene.rng.normal(128, 60, (16, 24)).clip(0, 255).astype("uint8")
    clouds = Image.fromarray(spots).resize(scene.image.size, Image.Resampling.BICUBIC)
    values = np.asarray(clouds, "float32")[..., None] - 128
    rows = np.linspace(0, 1, scene.height, dtype="float32")[:, None, None]
    sky = np.array((222, 230, 238)) * (1 - rows) + np.array((250, 250, 247)) * rows + 0.08 * values
    scene.image.paste(Image.fromarray(np.clip(sky, 0, 255).astype("uint8")))


def _lots(rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Yields the begin and the end of each house along one side of the road."""
    begin = 1.2
    while begin < _FAR:
        end = begin + rng.uniform(6, 13)
        yield begin, end
        begin = end + (rng.uniform(2, 6) if rng.random() < 0.3 else 0)


def _draw_house(scene: _Scene, right: float, near: float, far: float) -> None:
    rng = scene.rng
    color = scene.shade(_WALLS[rng.integers(len(_WALLS))])
    floors = int(rng.integers(2, 5))
    height = 3.0 * floors + rng.uniform(0.6, 1.6)
    scene.wall(color, right, 0, height, near, far)
    depth = right * 2.2
    dark = _darken(color, 0.8)
    scene.fill(dark, (right, 0, far), (right, height, far), (depth, height, far), (depth, 0, far))
    scene.wall(scene.shade((88, 74, 70)), right, height - 0.3, height, near, far)
    for floor in range(floors):
        for begin in np.arange(near + 0.9, far - 1.4, 2.4):
            glass = scene.shade((58, 64, 74), 16)
            scene.wall((206, 202, 194), right, 3 * floor + 0.7, 3 * floor + 2.4, begin, begin + 1.3)
            scene.wall(glass, right, 3 * floor + 0.8, 3 * floor + 2.3, begin + 0.1, begin + 1.2)


def _draw_tree(scene: _Scene, right: float, ahead: float) -> None:
    rng = scene.rng
    height = rng.uniform(5, 9)
    scene.upright((62, 50, 42), right - 0.15, 0, ahead, 0.3, 0.6 * height)
    for _ in range(260):
        angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        x = right + 1.9 * reach * np.cos(angle)
        up = 0.68 * height + 0.32 * height * reach * np.sin(angle)
        light = 0.6 + 0.5 * (up / height) ** 2 + rng.normal(0, 0.12)
        color = tuple(int(np.clip(value * light, 0, 255)) for value in (74, 92, 50))
        radius = _FOCAL * scene.width / ahead * rng.uniform(0.12, 0.34)
        px, py = scene.at(x, up, ahead)
        scene.draw.ellipse((px - radius, py - radius, px + radius, py + radius), fill=color)


def _draw_lamp(scene: _Scene, right: float, ahead: float) -> None:
    scene.upright((70, 72, 74), right - 0.06, 0, ahead, 0.12, 6)
    arm = -1.2 if right > 0 else 1.2
    scene.upright((70, 72, 74), min(right, right + arm), 5.9, ahead, 1.2, 0.1)


def _draw_car(scene: _Scene, right: float, ahead: float) -> None:
    color = scene.shade(_CARS[scene.rng.integers(len(_CARS))])
    dark = _darken(color, 0.7)
    left, long = right - 0.9, 4.2
    inner = left if right > 0 else left + 1.8  # the side that is seen
    (x0, y0), (x1, y1) = scene.at(left - 0.1, 0.12, ahead), scene.at(left + 1.9, -0.1, ahead)
    scene.draw.ellipse((x0, y0, x1, y1), fill=(46, 46, 50))  # its shadow
    for wheel in (0.7, 3.4):
        scene.wall((24, 24, 26), inner, 0, 0.62, ahead + wheel - 0.3, ahead + wheel + 0.3)
    scene.wall(dark, inner, 0.3, 0.95, ahead, ahead + long)
    scene.wall((48, 54, 62), inner, 0.95, 1.4, ahead + 0.5, ahead + 0.7 * long)
    scene.upright(color, left, 0.25, ahead, 1.8, 0.75)
    scene.fill(
        color,
        (left, 1.0, ahead),
        (left + 0.2, 1.48, ahead + 0.4),
        (left + 1.6, 1.48, ahead + 0.4),
        (left + 1.8, 1.0, ahead),
    )
    scene.fill(
        (56, 62, 72),
        (left + 0.15, 1.02, ahead),
        (left + 0.3, 1.4, ahead + 0.35),
        (left + 1.5, 1.4, ahead + 0.35),
        (left + 1.65, 1.02, ahead),
    )
    for lamp in (left + 0.05, left + 1.5):
        scene.upright((150, 36, 32), lamp, 0.72, ahead, 0.25, 0.16)
    scene.upright((222, 216, 180), left + 0.65, 0.5, ahead, 0.5, 0.13)
    for wheel in (left + 0.08, left + 1.5):
        scene.upright((22, 22, 24), wheel, 0, ahead, 0.22, 0.28)


def _draw_walker(scene: _Scene, right: float, ahead: float) -> None:
    coat = scene.shade(_COATS[scene.rng.integers(len(_COATS))])
    for leg in (-0.16, 0.04):
        scene.upright((40, 42, 52), right + leg, 0, ahead, 0.13, 0.85)
    scene.upright(coat, right - 0.24, 0.8, ahead, 0.48, 0.68)
    (x0, y0), (x1, y1) = scene.at(right - 0.12, 1.76, ahead), scene.at(right + 0.12, 1.5, ahead)
    scene.draw.ellipse((x0, y0, x1, y1), fill=(176, 140, 120))


def _darken(color: Color, share: float) -> Color:
    red, green, blue = (int(share * value) for value in color)
    return red, green, blue


def _photograph(image: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Reduces a drawing, and gives it the softness, the grain and the dark corners of a photo."""
    small = image.resize(size[::-1], Image.Resampling.LANCZOS)
    pixels = np.asarray(small.filter(ImageFilter.GaussianBlur(0.7)), "float32")
    spots = rng.normal(128, 30, (size[0] // 3, size[1] // 3)).clip(0, 255).astype("uint8")
    stains = Image.fromarray(spots).resize(size[::-1], Image.Resampling.BICUBIC)
    pixels *= 1 + (np.asarray(stains, "float32")[..., None] - 128) / 400 * (pixels < 215)
    rows, columns = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    corners = 1 - 0.1 * (rows**2 + columns**2)[..., None]
    grain = rng.normal(0, 4, pixels.shape)
    return np.clip(pixels * corners + grain, 0, 255).astype("uint8")
