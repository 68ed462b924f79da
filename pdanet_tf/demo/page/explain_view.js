// What the network attends to at one position, and where it is unsure.

import { explain } from "./api.js";
import { SCALE } from "./colors.js";
import { opacitySlider } from "./controls.js";
import { announce, complain, decimal, element, percent } from "./dom.js";
import { Viewer } from "./viewer.js";

const ATTENTION = "position_attention_";
const CHANNELS = "channel_attention_";

export class ExplainView {
  constructor(panel) {
    this.maps = panel.querySelector(".maps");
    this.facts = panel.querySelector(".facts");
    this.channels = panel.querySelector(".channels");
    this.details = panel.querySelector("details");
    this.row = panel.querySelector("#row");
    this.column = panel.querySelector("#column");
    this.viewers = new Map();
    this.opacity = 0.65;
    panel.querySelector("#position-form").onsubmit = (event) => {
      event.preventDefault();
      if (!this.size) return;
      const [height, width] = this.size;
      this.#move((this.row.valueAsNumber + 0.5) / height, (this.column.valueAsNumber + 0.5) / width);
    };
    panel.querySelector(".bar").append(opacitySlider((value) => {
      this.opacity = value;
      for (const viewer of this.viewers.values()) {
        viewer.opacity = value;
        viewer.draw();
      }
    }, 65));
  }

  /** Explains an image { file } at its middle. */
  async run({ file }, signal) {
    this.file = file;
    await this.#explain(0.5, 0.5, signal);
  }

  async #move(row, column) {
    this.moving?.abort();
    this.moving = new AbortController();
    try {
      await this.#explain(row, column, this.moving.signal);
    } catch (error) {
      if (!error.name.includes("Abort")) complain(error);
    }
  }

  async #explain(row, column, signal) {
    announce(`Explaining ${this.file.name}. This takes longer than segmenting it.`);
    this.#setBusy(true);
    try {
      const answer = await explain(this.file, { row, column, signal });
      this.size = answer.size;
      await this.#show(answer);
    } finally {
      this.#setBusy(signal.aborted);
    }
  }

  #setBusy(busy) {
    this.maps.setAttribute("aria-busy", busy);
    for (const viewer of this.viewers.values()) viewer.busy = busy;
    if (busy && !this.viewers.size) this.facts.textContent = "The explanation is being computed …";
  }

  async #show(answer) {
    const { arrays, at, size: [height, width], levels, missing, highest } = answer;
    const picture = await createImageBitmap(new Blob([arrays.picture.values]));
    [this.row.value, this.column.value] = at;
    [this.row.max, this.column.max] = [height - 1, width - 1];
    this.facts.textContent = `At row ${at[0]}, column ${at[1]}: ${answer.class}. ` +
      `Mean entropy ${percent(answer.mean_entropy)}. ${missing.join(" ")}`;
    announce(this.facts.textContent);
    const captions = new Map([
      ["entropy", ["Where the model is unsure", "Entropy, from dark (sure) to bright (all classes " +
        "equally likely)"]],
      ["receptive_field", ["Effective receptive field", `What the score of ${answer.class} at the ` +
        "cross depends on"]],
    ]);
    for (const [name, level] of Object.entries(levels)) {
      const { width: columns, height: rows } = arrays[ATTENTION + name];
      captions.set(ATTENTION + name, [`Attention, level ${name}`,
        `Gamma ${decimal(level.position_gamma)} · ${rows} × ${columns} cells · highest ` +
        `weight ${decimal(highest[ATTENTION + name])}`]);
    }
    if ([...captions.keys()].join() !== [...this.viewers.keys()].join()) this.#build(captions);
    for (const [name, [title, text]] of captions) {
      const viewer = this.viewers.get(name);
      viewer.stage.nextElementSibling.replaceChildren(
        element("strong", { textContent: title }), element("span", { textContent: text }));
      viewer.showPicture(picture, width, height);
      viewer.showMap({ values: { ...arrays[name], highest: highest[name] } });
      viewer.markAt((at[0] + 0.5) / height, (at[1] + 0.5) / width);
    }
    this.#showChannels(answer);
  }

  #build(captions) {
    this.viewers.clear();
    const figures = [...captions].map(([name, [title]]) => {
      const stage = element("div", { className: "stage" });
      const viewer = new Viewer(stage, {
        label: title, onPick: (row, column) => this.#move(row, column),
      });
      Object.assign(viewer, { view: "confidence", opacity: this.opacity });
      this.viewers.set(name, viewer);
      return element("figure", { className: "card" }, stage, element("figcaption"));
    });
    this.maps.replaceChildren(...figures);
  }

  #showChannels({ arrays, levels, highest }) {
    const figures = Object.entries(levels).map(([name, level]) => {
      const { values, width, height } = arrays[CHANNELS + name];
      const text = `Level ${name}, gamma ${decimal(level.channel_gamma)}, highest weight ` +
        decimal(highest[CHANNELS + name]);
      const canvas = element("canvas", { className: "matrix", width, height, role: "img",
        "aria-label": `Channel attention. ${text}` });
      const image = new ImageData(width, height);
      const out = new Uint32Array(image.data.buffer);
      for (let i = 0; i < out.length; i++) out[i] = SCALE[values[i]];
      canvas.getContext("2d").putImageData(image, 0, 0);
      return element("figure", {}, canvas, element("figcaption", { textContent: text }));
    });
    this.details.hidden = !figures.length;
    this.channels.replaceChildren(...figures);
  }
}
