// The view of one image.

import { segment } from "./api.js";
import { Controls } from "./controls.js";
import { announce, percent, seconds } from "./dom.js";
import { encodeMask, save, stemOf } from "./downloads.js";
import { byArea, count, Legend } from "./legend.js";
import { Viewer } from "./viewer.js";

export class ImageView {
  constructor(panel, { models: [model] }) {
    this.model = model;
    this.viewer = new Viewer(panel.querySelector(".stage"), { label: "The image with its classes" });
    this.legend = new Legend(panel.querySelector(".legend"), [this.viewer]);
    new Controls(panel.querySelector(".controls"), [this.viewer]);
    this.facts = panel.querySelector(".facts");
    this.buttons = [...panel.querySelectorAll(".buttons button")];
    const [mask, overlay, json] = this.buttons;
    mask.onclick = () => this.#saveMask();
    overlay.onclick = () => this.viewer.compose().toBlob((blob) => this.#save(blob, "_overlay.png"));
    json.onclick = () => this.#save(new Blob([JSON.stringify(this.#figures(), null, 2)]), ".json");
  }

  /** Segments an image { file, bitmap } and shows the result. */
  async run({ file, bitmap }, signal) {
    const start = performance.now();
    if (bitmap) this.#begin(bitmap);
    this.viewer.busy = true;
    announce(`Segmenting ${file.name}`);
    try {
      const answer = await segment(file, { picture: !bitmap, signal });
      this.answer = answer;
      this.file = file;
      await showAnswer(this.viewer, answer, bitmap, this.model.classes);
      this.#tell((performance.now() - start) / 1000);
    } finally {
      this.viewer.busy = signal.aborted;
    }
  }

  #begin(bitmap) {
    this.viewer.showPicture(bitmap);
    this.legend.update([]);
    this.facts.textContent = "";
    for (const button of this.buttons) button.disabled = true;
  }

  #tell(total) {
    const { labels, confidence } = this.answer.arrays;
    this.counts = count({ labels, confidence }, this.model.classes);
    const entries = byArea(this.model.classes, this.counts.pixels);
    this.legend.update(entries);
    const mean = this.counts.sums.reduce((a, b) => a + b, 0) / labels.values.length / 255;
    const [height, width] = this.answer.size;
    this.facts.textContent = `${width} × ${height} pixels · model ${seconds(this.answer.seconds)} · ` +
      `in all ${seconds(total)} · mean confidence ${percent(mean)}`;
    const largest = entries.slice(0, 3).map(({ name, shares }) => `${name} ${percent(shares[0])}`);
    this.viewer.describe(`${this.file.name}: ${largest.join(", ")}.`);
    announce(`${this.file.name}: ${entries.length} classes in ${seconds(total)}. ` +
      `${largest.join(", ")}`);
    for (const button of this.buttons) button.disabled = false;
  }

  #save(blob, ending) {
    save(blob, `${stemOf(this.file.name)}${ending}`);
  }

  async #saveMask() {
    let { labels } = this.answer.arrays;
    if (labels.height !== this.answer.size[0]) { // the page shows less than the whole label map
      this.viewer.busy = true;
      ({ labels } = (await segment(this.file, { whole: true })).arrays);
      this.viewer.busy = false;
    }
    this.#save(await encodeMask(labels, this.model.classes), "_labels.png");
  }

  #figures() {
    const { pixels, sums } = this.counts;
    const { labels } = this.answer.arrays;
    const found = this.model.classes.map(({ name, color }, index) => ({
      index, name, color, share: pixels[index] / labels.values.length,
      mean_confidence: pixels[index] ? sums[index] / pixels[index] / 255 : null,
    })).filter(({ share }) => share > 0).sort((a, b) => b.share - a.share);
    const [height, width] = this.answer.size;
    const { name, architecture, precision, runtime } = this.model;
    return {
      image: this.file.name, height, width, model: name, architecture, precision, runtime,
      seconds: this.answer.seconds, classes: found,
    };
  }
}

/** Shows an answer of the server in a viewer. */
export async function showAnswer(viewer, answer, bitmap, classes) {
  const { labels, confidence, picture } = answer.arrays;
  const shown = bitmap ?? await createImageBitmap(new Blob([picture.values]));
  viewer.showPicture(shown, labels.width, labels.height);
  viewer.showMap({ labels, values: confidence, classes });
}
