// Two models side by side, and where they disagree.

import { segment } from "./api.js";
import { Controls } from "./controls.js";
import { announce, element, percent, seconds } from "./dom.js";
import { showAnswer } from "./image_view.js";
import { count, Legend } from "./legend.js";
import { Viewer } from "./viewer.js";

const PAIRS_SHOWN = 8;
const AGREEMENT = [
  { name: "agree", color: [0, 0, 0], painted: false },
  { name: "disagree", color: [255, 122, 0], painted: true, hatched: true },
];

export class CompareView {
  constructor(panel, { models }) {
    this.models = models;
    if (models.length < 2) return;
    panel.querySelector(".hint").hidden = true;
    panel.querySelector(".comparison").hidden = false;
    const figures = [...panel.querySelectorAll("figure")];
    const names = [...models.map(({ name }) => name), "Disagreement"];
    this.viewers = figures.map((figure, index) =>
      new Viewer(figure.querySelector(".stage"), { label: names[index] }));
    this.captions = figures.map((figure) => figure.querySelector("figcaption"));
    this.captions.forEach((caption, index) => this.#caption(caption, names[index], ""));
    this.pairs = panel.querySelector(".pairs");
    new Controls(panel.querySelector(".controls"), this.viewers.slice(0, 2));
    this.legend = new Legend(panel.querySelector(".legend"), this.viewers.slice(0, 2),
      "Classes by area, first / second model");
  }

  /** Segments an image { file, bitmap } with both models. */
  async run({ file, bitmap }, signal) {
    if (this.models.length < 2) return;
    announce(`Comparing both models on ${file.name}`);
    for (const viewer of this.viewers) {
      if (bitmap) viewer.showPicture(bitmap);
      viewer.busy = true;
    }
    try {
      const answers = [];
      for (const [model, viewer] of this.viewers.slice(0, 2).entries()) {
        const answer = await segment(file, { model, picture: !bitmap, signal });
        await showAnswer(viewer, answer, bitmap, this.models[model].classes);
        viewer.busy = false;
        this.#caption(this.captions[model], this.models[model].name, seconds(answer.seconds));
        answers.push(answer);
      }
      this.#showLegend(answers);
      this.#showDisagreement(answers, file.name);
    } finally {
      for (const viewer of this.viewers) viewer.busy = signal.aborted;
    }
  }

  #caption(caption, name, text) {
    caption.replaceChildren(element("strong", { textContent: name }),
      element("span", { textContent: text }));
  }

  #showLegend(answers) {
    const entries = new Map();
    answers.forEach(({ arrays }, model) => {
      const { classes } = this.models[model];
      const { pixels } = count(arrays, classes);
      classes.forEach((entry, index) => {
        if (!pixels[index]) return;
        if (!entries.has(entry.name)) entries.set(entry.name, { ...entry, shares: [0, 0] });
        entries.get(entry.name).shares[model] = pixels[index] / arrays.labels.values.length;
      });
    });
    const largest = ({ shares }) => Math.max(...shares);
    this.legend.update([...entries.values()].sort((a, b) => largest(b) - largest(a)));
  }

  /** Classes of the two models are the same if they have the same name. */
  #showDisagreement([first, second], file) {
    const [names, others] = this.models.map(({ classes }) => classes.map(({ name }) => name));
    const { values, width, height } = first.arrays.labels;
    const theirs = second.arrays.labels.values;
    const differs = names.map((name) => others.map((other) => (name === other ? 0 : 1)));
    const map = new Uint8Array(values.length);
    const counts = new Map();
    for (let i = 0; i < map.length; i++) {
      if (!(map[i] = differs[values[i]][theirs[i]])) continue;
      const pair = values[i] * others.length + theirs[i];
      counts.set(pair, (counts.get(pair) ?? 0) + 1);
    }
    const disagreeing = [...counts.values()].reduce((a, b) => a + b, 0) / map.length;
    const viewer = this.viewers[2];
    viewer.showPicture(this.viewers[0].base);
    viewer.opacity = 0.85;
    viewer.showMap({ labels: { values: map, width, height }, classes: AGREEMENT });
    const text = `${percent(disagreeing)} of the pixels differ`;
    viewer.describe(`${text}.`);
    this.#caption(this.captions[2], "Disagreement", text);
    announce(`${file}: ${text}`);
    const rows = [...counts].sort((a, b) => b[1] - a[1]).slice(0, PAIRS_SHOWN)
      .map(([pair, pixels]) => [names[Math.floor(pair / others.length)],
        others[pair % others.length], percent(pixels / map.length)]);
    this.#showPairs(rows);
  }

  #showPairs(rows) {
    if (!rows.length) {
      this.pairs.replaceChildren(element("p", { textContent: "The models agree on every pixel." }));
      return;
    }
    const row = (tag, cells) => element("tr", {},
      ...cells.map((textContent) => element(tag, { textContent })));
    const heads = row("th", [...this.models.map(({ name }) => name), "pixels"]);
    for (const head of heads.children) head.scope = "col";
    this.pairs.replaceChildren(element("table", {},
      element("caption", { textContent: "Most frequent disagreements" }),
      element("thead", {}, heads),
      element("tbody", {}, ...rows.map((cells) => row("td", cells)))));
  }
}
