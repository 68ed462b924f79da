// The page: tabs, and the image that the views share.

import { about, readSample } from "./api.js";
import { CompareView } from "./compare_view.js";
import { announce, calm, complain, element } from "./dom.js";
import { ExplainView } from "./explain_view.js";
import { ImageView } from "./image_view.js";
import { VideoView } from "./video_view.js";

const VIEWS = { image: ImageView, video: VideoView, compare: CompareView, explain: ExplainView };
const page = (id) => document.getElementById(id);

class Page {
  constructor(facts) {
    this.facts = facts;
    this.image = null;
    this.tabs = Object.keys(VIEWS).map((name) => page(`tab-${name}`));
    this.views = Object.fromEntries(Object.entries(VIEWS).map(([name, View]) =>
      [name, new View(page(`panel-${name}`), facts)]));
    this.done = {}; // the image that each view has shown last
    this.#describeModels();
    this.#offerSamples();
    this.#listen();
    this.select("image");
  }

  #describeModels() {
    page("models").replaceChildren(...this.facts.models.map((model) => element("li", {},
      element("strong", { textContent: model.name }),
      ` ${model.architecture} · ${model.precision} · ${model.runtime}`)));
  }

  #offerSamples() {
    page("samples").replaceChildren(...this.facts.samples.map((name, index) => element("li", {},
      element("button", { title: name, onclick: () => this.#try(() => readSample(index)) },
        element("img", {
          src: `samples/${index}/thumbnail`, alt: name, loading: "lazy", width: 80, height: 60,
        })))));
  }

  #listen() {
    for (const tab of this.tabs) {
      tab.onclick = () => this.select(tab.id.slice("tab-".length));
      tab.onkeydown = (event) => this.#moveTab(event, tab);
    }
    page("image-file").onchange = (event) => this.#take(event.target);
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) document.body.classList.remove("dropping");
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("dropping");
      const [file] = event.dataTransfer.files;
      if (file) this.open(file);
    });
    document.addEventListener("paste", (event) => {
      const [file] = event.clipboardData.files;
      if (file) this.open(file);
    });
  }

  #take(input) {
    const [file] = input.files;
    input.value = ""; // the same file can be chosen again
    if (file) this.open(file);
  }

  async #try(read) {
    try {
      this.open(await read());
    } catch (error) {
      complain(error);
    }
  }

  /** Opens a file that the user chose. */
  async open(file) {
    calm();
    if (file.type.startsWith("video/")) {
      this.select("video");
      this.views.video.open(file);
      return;
    }
    if (this.active === "video") this.select("image");
    if (file.size > this.facts.largest_file) {
      const limit = Math.round(this.facts.largest_file / 2 ** 20);
      complain(new Error(`${file.name} is larger than ${limit} MiB, the limit of this page`));
      return;
    }
    const token = (this.opening = {});
    const { rgb } = this.facts.models[0];
    const bitmap = rgb ? await createImageBitmap(file).catch(() => null) : null;
    if (token !== this.opening) return; // another file was opened meanwhile
    this.image = { file, bitmap };
    this.#run();
  }

  select(name) {
    if (this.active === "video" && name !== "video") this.views.video.close();
    this.active = name;
    for (const tab of this.tabs) {
      const chosen = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      page(tab.getAttribute("aria-controls")).hidden = !chosen;
    }
    page("source").hidden = name === "video";
    this.#run();
  }

  #moveTab(event, tab) {
    const places = { ArrowRight: 1, ArrowLeft: -1 };
    const count = this.tabs.length;
    let next;
    if (event.key in places) next = this.tabs.indexOf(tab) + places[event.key];
    else if (event.key === "Home") next = 0;
    else if (event.key === "End") next = count - 1;
    else return;
    event.preventDefault();
    const chosen = this.tabs[(next + count) % count];
    this.select(chosen.id.slice("tab-".length));
    chosen.focus();
  }

  /** Lets the active view show the image, unless it shows it already. */
  async #run() {
    const { active, image } = this;
    if (!image || this.done[active] === image) return;
    this.running?.abort();
    const running = (this.running = new AbortController());
    this.done[active] = image;
    try {
      await this.views[active].run(image, running.signal);
    } catch (error) {
      if (this.done[active] === image) delete this.done[active];
      if (running.signal.aborted) return;
      complain(error);
      announce("");
    }
  }
}

about().then((facts) => new Page(facts)).catch(complain);
