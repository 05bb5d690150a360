/** The part of the media time that the plot shows. Pure. */

/** Its length until the user zooms. */
const WINDOW_S = 30;
const MIN_WINDOW_S = 5;
/** Longer windows are drawn from so many points. */
const POINTS = 600;
/** Fraction of the distance to the newest scores that it moves at a time. */
const EASE = 0.15;
const NEAR_S = 0.02;

export class PlotWindow {
  #length_s = WINDOW_S;
  #to_s;

  /** It ends with the media time analysed so far. */
  constructor(position_s) {
    this.#to_s = Math.max(WINDOW_S, position_s);
  }

  get from_s() {
    return this.#to_s - this.#length_s;
  }

  get to_s() {
    return this.#to_s;
  }

  get length_s() {
    return this.#length_s;
  }

  /** Seconds of scores that are one point; null for each frame. */
  get bin_s() {
    return this.#length_s > WINDOW_S ? this.#length_s / POINTS : null;
  }

  /** Whether there is room for all that was analysed. */
  holds(position_s) {
    return position_s <= this.#length_s;
  }

  includes(at_s) {
    return at_s >= this.from_s && at_s <= this.#to_s;
  }

  /** Whether the user can zoom in, and out. */
  zooms(position_s) {
    return { in: this.#length_s > MIN_WINDOW_S, out: this.#length_s < Math.max(WINDOW_S, position_s) };
  }

  endAt(to_s, position_s) {
    this.#to_s = Math.max(this.#length_s, Math.min(to_s, position_s));
  }

  /** Shows this part, limited to the analysed range and to a minimum length. */
  select(from_s, to_s, position_s) {
    this.#length_s = Math.max(MIN_WINDOW_S, Math.min(to_s - from_s, Math.max(WINDOW_S, position_s)));
    this.endAt((from_s + to_s + this.#length_s) / 2, position_s);
  }

  /** `select` for a part that is `factor` times as long, where `fixed_s` stays where it is. */
  scale(factor, fixed_s, position_s) {
    this.select(fixed_s - (fixed_s - this.from_s) * factor, fixed_s + (this.#to_s - fixed_s) * factor, position_s);
  }

  /** Moves towards an end at `last_s`, immediately if reduced motion is preferred. Returns whether it has arrived. */
  approach(last_s, isCalm) {
    const target_s = Math.max(this.#length_s, last_s);
    const left_s = target_s - this.#to_s;
    const jumps = isCalm || Math.abs(left_s) < NEAR_S || Math.abs(left_s) > this.#length_s;
    this.#to_s = jumps ? target_s : this.#to_s + left_s * EASE;
    return jumps;
  }
}
