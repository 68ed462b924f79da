"""One small set of images, labelled in each format of annotations."""

import base64
import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from matplotlib.path import Path as Outline
from PIL import Image

SIZE = (24, 32)
NAMES = ("background", "road", "car", "tree")
COLORS = ((0, 0, 0), (128, 64, 128), (0, 0, 142), (107, 142, 35))
# Class and polygon (x, y) of each shape; larger shapes first, so every order gives the same map.
SCENES: dict[str, list[tuple[str, list[tuple[float, float]]]]] = {
    "a1": [
        ("road", [(0, 12), (32, 12), (32, 24), (0, 24)]),
        ("car", [(4, 10), (13, 10), (15.3, 17.3), (4.1, 18.7)]),
    ],
    "a2": [
        ("road", [(0, 14), (32, 10), (32, 24), (0, 24)]),
        ("tree", [(20, 2), (28.3, 4.2), (29.2, 15.1), (19.1, 13.4)]),
    ],
    "b1": [
        ("tree", [(1, 1), (14.2, 2.1), (9.3, 17.2)]),
        ("car", [(18, 8), (27, 8), (27, 14), (18, 14)]),
    ],
    "b2": [],
    "b3": [
        ("road", [(0, 16), (32, 16), (32, 24), (0, 24)]),
        ("car", [(5.2, 14.3), (11.4, 13.2), (12.1, 19.4), (4.3, 19.2)]),
        ("tree", [(26, 0), (31, 0), (31, 9), (26, 9)]),
    ],
}


def inside(points: list[tuple[float, float]]) -> np.ndarray:
    """Returns the pixels whose centre is in a polygon, computed by matplotlib."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    centres = np.stack([columns.ravel(), rows.ravel()], 1)
    return Outline(points).contains_points(centres).reshape(SIZE)


def label_map(scene: str) -> np.ndarray:
    """Returns the label map of a scene, `(height, width)`, uint8."""
    label = np.zeros(SIZE, "uint8")
    for name, points in SCENES[scene]:
        label[inside(points)] = NAMES.index(name)
    return label


def _image(scene: str) -> Image.Image:
    rng = np.random.default_rng(list(scene.encode()))
    pixels = np.array(COLORS)[label_map(scene)] + rng.integers(0, 60, (*SIZE, 3))
    return Image.fromarray(pixels.clip(0, 255).astype("uint8"))


def write_images(folder: Path) -> None:
    """Writes the images as PNG."""
    folder.mkdir(parents=True)
    for scene in SCENES:
        _image(scene).save(folder / f"{scene}.png")


def write_labelled(root: Path, format: str) -> Path:
    """Writes the set in a format below `root`, and returns what `import_labels` takes as source."""
    images = root / ("JPEGImages" if format == "voc" else "images")
    write_images(images)
    if format in ("coco", "cvat"):
        return {"coco": _write_coco, "cvat": _write_cvat}[format](root)
    for scene in SCENES:
        label = label_map(scene)
        if format == "labelme":
            _write_labelme(root, scene)
        elif format == "yolo":
            _write_yolo(root, scene)
        elif format == "voc":
            image = Image.fromarray(label, "P")
            image.putpalette(np.array(COLORS, "uint8").tobytes())
            _save(image, root / "SegmentationClass" / f"{scene}.png")
        elif format == "colors":
            _save(Image.fromarray(np.array(COLORS, "uint8")[label]), root / f"masks/{scene}.png")
        elif format == "binary":
            mask = (label > 0).astype("uint8") * 255
            _save(Image.fromarray(mask), root / "masks" / f"{scene}.png")
        elif format == "masks":
            for index, name in enumerate(NAMES):
                mask = (label == index).astype("uint8") * 255
                _save(Image.fromarray(mask), root / "masks" / name / f"{scene}.png")
        else:
            _save(Image.fromarray(label), root / "masks" / f"{scene}.png")
    if format == "colors":
        rows = [
            f"{name},{','.join(map(str, color))}" for name, color in zip(NAMES, COLORS, strict=True)
        ]
        (root / "colors.csv").write_text("\n".join(["name,red,green,blue", *rows]))
    return root / "images" if format == "labelme" else root


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def run_lengths(mask: np.ndarray, by_columns: bool) -> list[int]:
    """Returns the lengths of alternating runs outside and inside a mask."""
    flat = mask.ravel(order="F" if by_columns else "C").astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    return np.diff([0, *edges, flat.size]).tolist()


def _write_coco(root: Path) -> Path:
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for index, (scene, shapes) in enumerate(SCENES.items()):
        images.append(
            {"id": 10 + index, "file_name": f"{scene}.png", "height": SIZE[0], "width": SIZE[1]}
        )
        for position, (name, points) in enumerate(reversed(shapes)):  # the order has no meaning
            segmentation: object = [[number for point in points for number in point]]
            if position % 2:
                counts = run_lengths(inside(points), by_columns=True)
                segmentation = {"size": list(SIZE), "counts": counts}
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10 + index,
                    "category_id": 5 * NAMES.index(name),
                    "segmentation": segmentation,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 5 * index, "name": NAMES[index]} for index in (2, 1, 3)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    file = root / "instances.json"
    file.write_text(json.dumps(content))
    return file


def _write_labelme(root: Path, scene: str) -> None:
    shapes = []
    for name, points in SCENES[scene]:
        shape: dict[str, object] = {"label": name, "points": points, "shape_type": "polygon"}
        if scene == "b1" and name == "car":
            shape |= {"points": [points[2], points[0]], "shape_type": "rectangle"}
        if scene == "b3" and name == "car":
            buffer = io.BytesIO()
            Image.fromarray(inside(points)[5:, 2:]).save(buffer, "PNG")
            mask = base64.b64encode(buffer.getvalue()).decode()
            shape |= {"points": [[2, 5], [31, 23]], "shape_type": "mask", "mask": mask}
        shapes.append(shape)
    data = None
    if scene == "a2":
        data = base64.b64encode((root / "images" / "a2.png").read_bytes()).decode()
    content: dict[str, object] = {"shapes": shapes, "imagePath": f"{scene}.png", "imageData": data}
    content |= {"imageHeight": SIZE[0], "imageWidth": SIZE[1], "version": "5.5.0", "flags": {}}
    (root / "images" / f"{scene}.json").write_text(json.dumps(content))


def _write_cvat(root: Path) -> Path:
    annotations = ET.Element("annotations")
    labels = ET.SubElement(ET.SubElement(ET.SubElement(annotations, "meta"), "task"), "labels")
    for name, color in list(zip(NAMES, COLORS, strict=True))[1:]:
        label = ET.SubElement(labels, "label")
        ET.SubElement(label, "name").text = name
        ET.SubElement(label, "color").text = "#{:02x}{:02x}{:02x}".format(*color)
    for index, (scene, shapes) in enumerate(SCENES.items()):
        about = {"id": str(index), "name": f"{scene}.png"}
        image = ET.SubElement(annotations, "image", about, height=str(SIZE[0]), width=str(SIZE[1]))
        # The smaller shape comes first, and its z_order lays it above.
        for order, (name, points) in reversed(list(enumerate(shapes))):
            common = {"label": name, "z_order": str(order), "occluded": "0"}
            if scene == "b1" and name == "car":
                (left, top), (right, bottom) = points[0], points[2]
                sides = {"xtl": left, "ytl": top, "xbr": right, "ybr": bottom}
                ET.SubElement(image, "box", common, **{k: str(v) for k, v in sides.items()})
            elif scene == "b3" and name == "car":
                mask = inside(points)[10:22, 3:15]
                rle = ", ".join(map(str, run_lengths(mask, by_columns=False)))
                box = {"left": "3", "top": "10", "width": "12", "height": "12"}
                ET.SubElement(image, "mask", common, rle=rle, **box)
            else:
                spelled = ";".join(f"{x:.2f},{y:.2f}" for x, y in points)
                ET.SubElement(image, "polygon", common, points=spelled)
    file = root / "annotations.xml"
    ET.ElementTree(annotations).write(file, "utf-8", xml_declaration=True)
    return file


def _write_yolo(root: Path, scene: str) -> None:
    lines = []
    for name, points in SCENES[scene]:
        shares = " ".join(f"{x / SIZE[1]:.6f} {y / SIZE[0]:.6f}" for x, y in points)
        lines.append(f"{NAMES.index(name) - 1} {shares}")
    (root / "labels").mkdir(exist_ok=True)
    if lines:
        (root / "labels" / f"{scene}.txt").write_text("\n".join(lines) + "\n")
    (root / "data.yaml").write_text("path: .\nnames:\n  0: road\n  1: car\n  2: tree\n")
