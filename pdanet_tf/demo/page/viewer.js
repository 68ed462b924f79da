// A picture with a map over it: classes, or values from 0 to 255.

import { pixel, SCALE } from "./colors.js";
import { element, percent } from "./dom.js";

const DIMMED = 45; // alpha of the other classes while one is highlighted
const HATCH = 6; // width of a stripe in pixels
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export class Viewer {
  /**
   * stage: the element that holds the picture. label: what it shows, for screen readers.
   * onPick: called with row and column, as shares from 0 to 1, when a position is chosen.
   */
  constructor(stage, { label, onPick } = {}) {
    this.stage = stage;
    this.label = label;
    this.onPick = onPick;
    this.view = "classes"; // or "confidence" or "picture"
    this.opacity = 0.6;
    this.hidden = new Set(); // names of classes
    this.highlighted = null; // the name of a class
    this.cross = [0.5, 0.5];
    const make = (name) => element("canvas", { className: name, "aria-hidden": "true" });
    this.base = make("base");
    this.paint = make("paint");
    this.outline = make("outline");
    this.mark = element("span", { className: "mark", hidden: true, "aria-hidden": "true" });
    this.readout = element("output", { className: "readout" });
    this.frame = element("div", { className: "frame", tabIndex: 0, role: "application" },
      this.base, this.paint, this.outline, this.mark);
    this.frame.hidden = true;
    stage.append(this.frame, this.readout);
    this.frame.addEventListener("pointermove", (event) => this.#point(this.#place(event), false));
    this.frame.addEventListener("pointerleave", () => { this.readout.value = ""; });
    this.frame.addEventListener("click", (event) => this.#pick(this.#place(event)));
    this.frame.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Shows a picture alone: a canvas, a bitmap or an image. */
  showPicture(picture, width = picture.width, height = picture.height) {
    [this.base.width, this.base.height] = [width, height];
    this.base.getContext("2d").drawImage(picture, 0, 0, width, height);
    this.frame.style.setProperty("--ratio", width / height);
    this.frame.hidden = false;
    this.labels = this.values = null;
    this.#clear();
    this.describe("");
  }

  /**
   * Shows a map over the picture. Each of labels and values is { values, width, height }, values
   * also with what 255 stands for, highest (1 by default); classes are { name, color, painted,
   * hatched }.
   */
  showMap({ labels = null, values = null, classes = [] }) {
    Object.assign(this, { labels, values, classes });
    const { width, height } = labels ?? values;
    if (this.paint.width !== width || this.paint.height !== height || !this.pixels) {
      [this.paint.width, this.paint.height] = [width, height];
      this.pixels = new ImageData(width, height);
    }
    this.draw();
  }

  describe(text) {
    const keys = this.onPick ? "Enter chooses it." : "";
    this.frame.setAttribute("aria-label",
      `${this.label}. ${text} Arrow keys move a cross and tell what is under it. ${keys}`);
  }

  set busy(value) {
    this.stage.classList.toggle("busy", value);
    this.stage.setAttribute("aria-busy", value);
  }

  draw() {
    this.paint.style.opacity = this.opacity;
    const source = this.view === "confidence" ? this.values : this.view === "classes" && this.labels;
    this.#clear();
    if (!source) return;
    const table = this.view === "confidence" ? SCALE : this.#classColors();
    const out = new Uint32Array(this.pixels.data.buffer);
    const { values } = source;
    for (let i = 0; i < out.length; i++) out[i] = table[values[i]];
    if (this.view === "classes") this.#hatch(out, values);
    this.paint.getContext("2d").putImageData(this.pixels, 0, 0);
    if (this.view === "classes" && this.highlighted !== null) this.#drawOutline(values);
  }

  /** Returns the picture as it is seen, as a canvas. */
  compose() {
    const { width, height } = this.base;
    const canvas = element("canvas", { width, height });
    const context = canvas.getContext("2d");
    context.drawImage(this.base, 0, 0);
    context.globalAlpha = this.opacity;
    context.imageSmoothingEnabled = false;
    if (this.paint.width) context.drawImage(this.paint, 0, 0, width, height);
    return canvas;
  }

  #clear() {
    this.paint.getContext("2d").clearRect(0, 0, this.paint.width, this.paint.height);
    this.outline.width = 0;
  }

  #classColors() {
    const some = this.classes.some(({ name }) => name === this.highlighted);
    return Uint32Array.from(this.classes, ({ name, color, painted }) => {
      if (this.hidden.has(name) || !painted) return 0;
      return pixel(color, !some || name === this.highlighted ? 255 : DIMMED);
    });
  }

  /** Draws stripes over classes that must be seen without their colour. */
  #hatch(out, values) {
    const hatched = this.classes.map((entry) => Boolean(entry.hatched));
    if (!hatched.includes(true)) return;
    const { width } = this.paint;
    const dark = pixel([20, 20, 20]);
    for (let i = 0; i < out.length; i++) {
      const place = (i % width) + Math.floor(i / width);
      if (hatched[values[i]] && place % (2 * HATCH) < HATCH / 2) out[i] = dark;
    }
  }

  /** Draws a light and a dark line around the highlighted class. */
  #drawOutline(values) {
    const wanted = this.classes.findIndex(({ name }) => name === this.highlighted);
    const { width, height } = this.paint;
    [this.outline.width, this.outline.height] = [width, height];
    const lines = new ImageData(width, height);
    const out = new Uint32Array(lines.data.buffer);
    const [light, dark] = [pixel([255, 255, 255]), pixel([0, 0, 0])];
    for (let row = 1; row < height - 1; row++) {
      for (let i = row * width + 1; i < (row + 1) * width - 1; i++) {
        const inside = values[i] === wanted;
        if (inside !== (values[i - 1] === wanted) || inside !== (values[i + 1] === wanted) ||
            inside !== (values[i - width] === wanted) || inside !== (values[i + width] === wanted)) {
          out[i] = inside ? light : dark;
        }
      }
    }
    this.outline.getContext("2d").putImageData(lines, 0, 0);
  }

  #place(event) {
    const box = this.frame.getBoundingClientRect();
    const within = (value) => Math.min(Math.max(value, 0), 0.999999);
    return [within((event.clientY - box.top) / box.height),
      within((event.clientX - box.left) / box.width)];
  }

  #key(event) {
    const step = STEPS[event.key];
    if (step) {
      const pixels = event.shiftKey ? 20 : 4;
      const sides = [this.base.height, this.base.width];
      this.#point(this.cross.map((share, axis) =>
        Math.min(Math.max(share + (pixels * step[axis]) / sides[axis], 0), 0.999999)), true);
    } else if (event.key === "Enter") {
      this.#pick(this.cross);
    } else return;
    event.preventDefault();
  }

  #pick(place) {
    this.#point(place, true);
    this.onPick?.(...place);
  }

  #point([row, column], marked) {
    if (marked) this.markAt(row, column);
    const at = ({ values, width, height }) =>
      values[Math.floor(row * height) * width + Math.floor(column * width)];
    const parts = [];
    if (this.labels) parts.push(this.classes[at(this.labels)].name);
    if (this.values) parts.push(percent((at(this.values) / 255) * (this.values.highest ?? 1)));
    const [y, x] = [row * this.base.height, column * this.base.width].map(Math.floor);
    parts.push(`row ${y}, column ${x}`);
    this.readout.value = parts.join(" · ");
  }

  markAt(row, column) {
    this.cross = [row, column];
    this.mark.hidden = false;
    this.mark.style.top = `${100 * row}%`;
    this.mark.style.left = `${100 * column}%`;
  }
}
