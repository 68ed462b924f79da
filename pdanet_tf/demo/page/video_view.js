// The camera, or a video file frame by frame. One frame is in memory at a time.

import { segment } from "./api.js";
import { Controls } from "./controls.js";
import { announce, complain, element, percent, seconds } from "./dom.js";
import { showAnswer } from "./image_view.js";
import { count, Legend } from "./legend.js";
import { Viewer } from "./viewer.js";

const LONGEST = 1280; // side of a frame that is sent
const QUALITY = 0.92;
const PATIENCE = 10_000; // milliseconds that a frame of a file may take to appear

export class VideoView {
  constructor(panel, { models: [model] }) {
    this.model = model;
    this.viewer = new Viewer(panel.querySelector(".stage"), { label: "The video with its classes" });
    this.legend = new Legend(panel.querySelector(".legend"), [this.viewer]);
    new Controls(panel.querySelector(".controls"), [this.viewer]);
    this.facts = panel.querySelector(".facts");
    const find = (name) => panel.querySelector(`#${name}`);
    [this.camera, this.pause, this.step] = ["camera", "pause", "step"].map(find);
    [this.position, this.text] = ["position", "position-text"].map(find);
    this.video = element("video", { muted: true, playsInline: true, preload: "auto" });
    this.canvas = element("canvas");
    this.playing = false;
    this.source = new AbortController(); // of the file or the camera that is shown
    find("video-file").onchange = ({ target }) => {
      const [file] = target.files;
      target.value = "";
      if (file) this.open(file);
    };
    this.camera.onclick = () => (this.stream ? this.close() : this.#startCamera());
    this.pause.onclick = () => this.#play(!this.playing);
    this.position.oninput = () => this.#jump(this.position.valueAsNumber);
  }

  /** Images are for the other views. */
  async run() {}

  /** Opens a video file and begins to show it. */
  async open(file) {
    this.close();
    const { source } = this;
    this.name = file.name;
    this.url = URL.createObjectURL(file);
    this.video.src = this.url;
    try {
      await this.#until("loadeddata");
      if (source.signal.aborted) return;
      await this.#findDuration();
      if (source.signal.aborted) return;
      this.position.max = this.video.duration;
      this.position.disabled = false;
      this.#play(true);
    } catch (error) {
      if (!source.signal.aborted) this.#fail(error);
    }
  }

  /** Ends the camera or closes the file. */
  close() {
    this.source.abort();
    this.source = new AbortController();
    this.playing = false;
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video.srcObject = null;
    this.video.removeAttribute("src");
    this.video.load();
    URL.revokeObjectURL(this.url);
    this.position.value = 0;
    this.position.disabled = this.pause.disabled = true;
    this.camera.textContent = "Start the camera";
    this.pause.textContent = "Pause";
  }

  async #startCamera() {
    this.close();
    const { source } = this;
    try {
      if (!navigator.mediaDevices) {
        throw new Error("The browser gives no access to the camera, because the page has no secure " +
          "address. Open it as http://127.0.0.1 or http://localhost");
      }
      const stream = await navigator.mediaDevices.getUserMedia({ video: true });
      this.stream = stream;
      this.name = "camera";
      this.video.srcObject = stream;
      await this.video.play();
      this.camera.textContent = "Stop the camera";
      this.#play(true);
    } catch (error) {
      if (source.signal.aborted) return;
      this.close();
      const text = { NotAllowedError: "The browser was not allowed to use the camera",
        NotFoundError: "This machine has no camera" }[error.name];
      complain(text ? new Error(text) : error);
    }
  }

  #play(playing) {
    this.playing = playing;
    this.pause.disabled = false;
    this.pause.textContent = playing ? "Pause" : "Go on";
    if (playing && !this.stream && this.video.currentTime >= this.video.duration) {
      this.video.currentTime = 0;
    }
    if (playing) this.#showFrames();
  }

  #jump(time) {
    this.wanted = time;
    if (!this.playing) this.#showFrames();
  }

  /** Shows frame after frame while the video plays; one frame if it is paused. */
  async #showFrames() {
    if (this.showing) return; // the loop that runs notices what has changed
    this.showing = true;
    const { source } = this;
    let last = performance.now();
    try {
      do {
        const time = this.wanted ?? this.video.currentTime;
        this.wanted = null;
        if (!this.stream) await this.#seek(time);
        if (source.signal.aborted) break;
        const answer = await this.#showFrame(source.signal);
        if (source.signal.aborted) break;
        const now = performance.now();
        this.#tell(answer, (now - last) / 1000);
        last = now;
        if (this.stream || !this.playing || this.wanted !== null) continue;
        if (time >= this.video.duration) this.#play(false);
        else this.wanted = Math.min(time + Number(this.step.value), this.video.duration);
      } while (this.playing || this.wanted !== null);
    } catch (error) {
      if (!source.signal.aborted) this.#fail(error);
    } finally {
      this.showing = false;
      if (source.signal.aborted && this.playing) this.#showFrames(); // another source began meanwhile
    }
  }

  async #showFrame(signal) {
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, LONGEST / Math.max(videoWidth, videoHeight));
    this.canvas.width = Math.round(videoWidth * scale);
    this.canvas.height = Math.round(videoHeight * scale);
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    const blob = await new Promise((done) => this.canvas.toBlob(done, "image/jpeg", QUALITY));
    const { rgb, classes } = this.model;
    if (!rgb) throw new Error("The model takes images of other channels than a video has");
    const answer = await segment(new File([blob], "frame.jpg"), { signal });
    await showAnswer(this.viewer, answer, this.canvas, classes);
    return answer;
  }

  #tell(answer, interval) {
    const { classes } = this.model;
    const { pixels, sums } = count(answer.arrays, classes);
    const total = answer.arrays.labels.values.length;
    // In the order of the model, so that the list stands still; with every class seen so far.
    if (this.seenSource !== this.source) {
      [this.seen, this.seenSource] = [new Set(), this.source];
    }
    classes.forEach((_, index) => pixels[index] && this.seen.add(index));
    this.legend.update(classes.map((entry, index) => ({ ...entry, shares: [pixels[index] / total] }))
      .filter((_, index) => this.seen.has(index)));
    const mean = sums.reduce((a, b) => a + b, 0) / total / 255;
    this.facts.textContent = `${this.name} · model ${seconds(answer.seconds)} · ` +
      `${(1 / interval).toFixed(1)} frames per second · mean confidence ${percent(mean)}`;
    if (this.stream) return;
    const time = this.video.currentTime;
    this.position.value = time;
    this.text.textContent = `${Math.floor(time / 60)}:${(time % 60).toFixed(1).padStart(4, "0")}`;
    this.position.setAttribute("aria-valuetext", this.text.textContent);
  }

  #fail(error) {
    this.close();
    complain(error);
    announce("");
  }

  async #seek(time) {
    if (this.video.currentTime === time && this.video.readyState >= 2) return;
    const arrived = this.#until("seeked");
    this.video.currentTime = time;
    await arrived;
  }

  /** Videos that browsers record have no duration until their end was looked for. */
  async #findDuration() {
    if (Number.isFinite(this.video.duration)) return;
    const arrived = this.#until("durationchange");
    this.video.currentTime = Number.MAX_SAFE_INTEGER;
    await arrived;
    await this.#seek(0);
  }

  /** Waits for an event of the video; fails if the browser cannot play it, or it is closed. */
  #until(event) {
    const { video, name, source } = this;
    return new Promise((done, fail) => {
      const over = new AbortController();
      const { signal } = over;
      const end = (settle, value) => {
        over.abort();
        clearTimeout(timer);
        settle(value);
      };
      const refuse = () => end(fail, new Error(
        `${name}: the browser cannot play this video. Browsers play MP4 (H.264) and WebM`));
      const timer = setTimeout(refuse, PATIENCE);
      video.addEventListener(event, () => end(done), { signal });
      video.addEventListener("error", refuse, { signal });
      source.signal.addEventListener("abort", () => end(fail, new Error("closed")), { signal });
    });
  }
}
