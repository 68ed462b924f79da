// What is shown over the pictures, and how opaque it is.

import { element } from "./dom.js";

const VIEWS = [["classes", "Classes"], ["confidence", "Confidence"], ["picture", "Image"]];
let made = 0; // radio buttons of one group have one name

export class Controls {
  constructor(root, viewers) {
    made += 1;
    this.viewers = viewers;
    const radios = VIEWS.map(([value, text]) => element("label", {},
      element("input", {
        type: "radio", name: `view-${made}`, value, checked: value === "classes",
        onchange: () => this.#set("view", value),
      }), element("span", { textContent: text })));
    this.scale = element("span", { className: "scale", hidden: true, textContent: "0 % to 100 %" });
    root.append(
      element("fieldset", { className: "segmented" },
        element("legend", { className: "visually-hidden", textContent: "Show" }), ...radios),
      this.scale, opacitySlider((value) => this.#set("opacity", value)));
  }

  #set(name, value) {
    if (name === "view") this.scale.hidden = value !== "confidence";
    for (const viewer of this.viewers) {
      viewer[name] = value;
      viewer.draw();
    }
  }
}

/** Returns a labelled slider; `onValue` gets 0 to 1. */
export function opacitySlider(onValue, value = 60) {
  const text = element("span", { textContent: `${value} %`, "aria-hidden": "true" });
  const slider = element("input", { type: "range", min: 0, max: 100, value });
  slider.oninput = () => {
    text.textContent = `${slider.value} %`;
    onValue(slider.value / 100);
  };
  return element("label", { className: "field" }, "Opacity", slider, text);
}
