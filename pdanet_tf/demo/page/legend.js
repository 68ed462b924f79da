// The classes by area. Hover or focus highlights a class in the pictures, a click hides it.

import { css } from "./colors.js";
import { element, percent } from "./dom.js";

export class Legend {
  constructor(root, viewers, title = "Classes by area") {
    this.viewers = viewers;
    this.hidden = new Set();
    this.rows = new Map();
    this.list = element("ul");
    this.all = element("button", {
      className: "quiet", disabled: true, onclick: () => this.#toggleAll(), textContent: "Hide all",
    });
    root.append(
      element("div", { className: "heading" }, element("h2", { textContent: title }), this.all),
      this.list);
    for (const viewer of viewers) viewer.hidden = this.hidden;
  }

  /** Shows entries { name, color, shares }, in their order; a share for each picture. */
  update(entries) {
    const names = entries.map(({ name }) => name);
    if (names.join("\n") !== [...this.rows.keys()].join("\n")) this.#build(entries);
    for (const { name, shares } of entries) {
      const { amount, bar } = this.rows.get(name);
      amount.textContent = shares.map(percent).join("  /  ");
      bar.style.width = `${100 * Math.max(...shares)}%`;
    }
    this.#refresh();
  }

  #build(entries) {
    const focused = document.activeElement?.dataset.name;
    this.rows.clear();
    this.list.replaceChildren(...entries.map(({ name, color, painted }) => {
      const swatch = element("span", { className: painted ? "swatch" : "swatch none" });
      swatch.style.backgroundColor = painted ? css(color) : "transparent";
      const bar = element("span", { className: "bar-fill" });
      bar.style.backgroundColor = css(color);
      const amount = element("span", { className: "amount" });
      const button = element("button", { title: "Hover highlights, a click hides" },
        swatch, element("span", { className: "name", textContent: name }), amount,
        element("span", { className: "share", "aria-hidden": "true" }, bar));
      button.dataset.name = name;
      button.onclick = () => this.#toggle(name);
      button.onmouseenter = button.onfocus = () => this.#highlight(name);
      button.onmouseleave = button.onblur = () => this.#highlight(null);
      this.rows.set(name, { button, amount, bar });
      return element("li", {}, button);
    }));
    if (focused !== undefined) this.rows.get(focused)?.button.focus();
  }

  #toggle(name) {
    if (!this.hidden.delete(name)) this.hidden.add(name);
    this.#refresh();
    this.#draw();
  }

  #toggleAll() {
    const names = [...this.rows.keys()];
    const hide = names.some((name) => !this.hidden.has(name));
    for (const name of names) {
      if (hide) this.hidden.add(name);
      else this.hidden.delete(name);
    }
    this.#refresh();
    this.#draw();
  }

  #highlight(name) {
    for (const viewer of this.viewers) viewer.highlighted = this.hidden.has(name) ? null : name;
    this.#draw();
  }

  #refresh() {
    for (const [name, { button }] of this.rows) {
      button.setAttribute("aria-pressed", !this.hidden.has(name));
    }
    const some = [...this.rows.keys()].some((name) => !this.hidden.has(name));
    this.all.disabled = !this.rows.size;
    this.all.textContent = some ? "Hide all" : "Show all";
  }

  #draw() {
    for (const viewer of this.viewers) viewer.draw();
  }
}

/** Returns the number of pixels and the summed confidence (0 to 255) of each class. */
export function count({ labels, confidence }, classes) {
  const pixels = new Float64Array(classes.length);
  const sums = new Float64Array(classes.length);
  for (let i = 0; i < labels.values.length; i++) {
    pixels[labels.values[i]] += 1;
    sums[labels.values[i]] += confidence.values[i];
  }
  return { pixels, sums };
}

/** Returns the entries of a legend: the classes that occur, the largest first. */
export function byArea(classes, pixels) {
  const total = pixels.reduce((sum, value) => sum + value, 0);
  return classes
    .map((entry, index) => ({ ...entry, shares: [pixels[index] / total] }))
    .filter(({ shares }) => shares[0] > 0)
    .sort((a, b) => b.shares[0] - a.shares[0]);
}
