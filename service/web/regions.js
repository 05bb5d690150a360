/** The regions of the next session: drawn on the snapshot with a mouse, pen or finger, or typed as numbers. */

const MAX_REGIONS = 8;
const SMALLEST = 0.01;
const SIDES = ["x", "y", "width", "height"];
const SIDE_LABELS = { x: "Left", y: "Top", width: "Width", height: "Height" };
const element = (id) => document.getElementById(id);

/** Regions as `{ name, x, y, width, height }`, in fractions of the frame. */
export class RegionsEditor {
  #regions = [];
  #drawing = null;
  #canvas = element("snapshot");
  #listeners = new Set();

  constructor() {
    element("region-add").addEventListener("click", () => this.#addWhole());
    element("regions").addEventListener("toggle", () => this.#changed());
    this.#canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    this.#canvas.addEventListener("pointermove", (event) => this.#stretch(event));
    this.#canvas.addEventListener("pointerup", (event) => this.#finish(event));
    this.#canvas.addEventListener("pointercancel", () => this.#cancel());
    this.#render();
  }

  /** Whether the user edits regions: the snapshot shows them in place of those of the session. */
  get isOpen() {
    return element("regions").open;
  }

  get regions() {
    return this.#regions.map((region) => ({ ...region }));
  }

  /** Regions to show: those of the list, and the one that is being drawn. */
  get shown() {
    return this.#drawing === null ? this.#regions : [...this.#regions, this.#drawing.region];
  }

  /** Calls `listener()` whenever the visible regions change, until the signal is aborted. */
  onChange(listener, signal) {
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener));
  }

  #changed() {
    this.#canvas.classList.toggle("drawable", this.isOpen);
    for (const listener of this.#listeners) listener();
  }

  #begin(event) {
    if (!this.isOpen || event.button !== 0 || this.#regions.length >= MAX_REGIONS) return;
    event.preventDefault();
    this.#canvas.setPointerCapture(event.pointerId);
    const from = this.#fractions(event);
    this.#drawing = { from, pointer: event.pointerId, region: { name: this.#freeName(), ...between(from, from) } };
    this.#changed();
  }

  #stretch(event) {
    if (this.#drawing?.pointer !== event.pointerId) return;
    Object.assign(this.#drawing.region, between(this.#drawing.from, this.#fractions(event)));
    this.#changed();
  }

  #finish(event) {
    if (this.#drawing?.pointer !== event.pointerId) return;
    const { region } = this.#drawing;
    this.#drawing = null;
    if (region.width >= SMALLEST && region.height >= SMALLEST) this.#regions.push(region);
    this.#render();
  }

  #cancel() {
    this.#drawing = null;
    this.#changed();
  }

  /** Where the pointer is in the frame. The canvas may be letterboxed in its element. */
  #fractions(event) {
    const box = this.#canvas.getBoundingClientRect();
    const scale = Math.min(box.width / this.#canvas.width, box.height / this.#canvas.height);
    const [width, height] = [this.#canvas.width * scale, this.#canvas.height * scale];
    const at = (value, size) => Math.min(1, Math.max(0, value / size));
    return {
      x: at(event.clientX - box.left - (box.width - width) / 2, width),
      y: at(event.clientY - box.top - (box.height - height) / 2, height),
    };
  }

  #addWhole() {
    if (this.#regions.length >= MAX_REGIONS) return;
    this.#regions.push({ name: this.#freeName(), x: 0, y: 0, width: 1, height: 1 });
    this.#render();
    element("region-list").lastElementChild.querySelector("input").select();
  }

  #remove(region) {
    this.#regions = this.#regions.filter((each) => each !== region);
    this.#render();
    element("region-add").focus();
  }

  #freeName() {
    const names = new Set(this.#regions.map(({ name }) => name));
    let number = 1;
    while (names.has(`region ${number}`)) number += 1;
    return `region ${number}`;
  }

  #render() {
    element("region-list").replaceChildren(...this.#regions.map((region) => this.#row(region)));
    element("region-add").disabled = this.#regions.length >= MAX_REGIONS;
    const count = this.#regions.length;
    element("regions-count").textContent = count === 0 ? "whole frame" : String(count);
    this.#changed();
  }

  #row(region) {
    const row = document.createElement("fieldset");
    row.className = "region";
    const legend = document.createElement("legend");
    legend.className = "hidden";
    legend.textContent = `Region ${region.name}`;
    const name = this.#field(row, "Name", { type: "text", maxLength: 40, value: region.name });
    name.addEventListener("input", () => {
      region.name = name.value.trim();
      legend.textContent = `Region ${region.name}`;
      this.#changed();
    });
    for (const side of SIDES) {
      const value = (region[side] * 100).toFixed(1);
      const input = this.#field(row, `${SIDE_LABELS[side]} %`, { type: "number", min: 0, max: 100, step: 0.1, value });
      input.addEventListener("input", () => {
        region[side] = input.valueAsNumber / 100;
        this.#changed();
      });
    }
    const remove = document.createElement("button");
    Object.assign(remove, { type: "button", className: "quiet", textContent: "Remove" });
    remove.setAttribute("aria-label", `Remove ${region.name}`);
    remove.addEventListener("click", () => this.#remove(region));
    row.prepend(legend);
    row.append(remove);
    return row;
  }

  #field(row, label, properties) {
    const input = Object.assign(document.createElement("input"), properties);
    const wrapped = document.createElement("label");
    wrapped.append(label, input);
    row.append(wrapped);
    return input;
  }
}

/** The rectangle between two opposite corners. */
function between(one, other) {
  return {
    x: Math.min(one.x, other.x),
    y: Math.min(one.y, other.y),
    width: Math.abs(one.x - other.x),
    height: Math.abs(one.y - other.y),
  };
}
