/** Plays actions: in the uploaded video, or as clips where there is none or the browser cannot play it. */

import { ClipView } from "./clip.js";
import { Player } from "./player.js";

const element = (id) => document.getElementById(id);

export class Playback {
  #clip;
  #player = null;
  #wanted = null;

  /**
   * `clock` is a SessionClock. `onTime(at_s, isChosen)` is called with the media time that the uploaded video shows, as
   * by Player.
   */
  constructor(session, clock, onTime) {
    this.#clip = new ClipView(session.id, clock);
    element("unplayable").textContent = "";
    element("player-open").hidden = true;
    // Browsers choose the stream themselves.
    if (!session.links.video || session.source.stream) return;
    this.#player = new Player(session.id, { onTime, onUnplayable: (why) => this.#usePlayerNoMore(why) });
  }

  close() {
    this.#clip.close();
    this.#player?.close();
  }

  /** Shows the uploaded video, if there is one. */
  open() {
    this.#player?.open();
  }

  play(action) {
    this.#wanted = action;
    if (this.#player) this.#player.play(action);
    else this.#clip.play(action);
  }

  /** Takes the event that announces a clip, which may be waited for. */
  announce(media) {
    this.#clip.announce(media);
  }

  /** Shows the uploaded video, if there is one, at a media time. */
  seek(at_s) {
    this.#player?.seek(at_s);
  }

  /** Shows the snapshot. */
  hide() {
    this.#clip.hide();
    this.#player?.hide();
  }

  #usePlayerNoMore(why) {
    this.#player.close();
    this.#player = null;
    element("unplayable").textContent = `${why} Select an event to play its clip.`;
    if (this.#wanted) this.#clip.play(this.#wanted);
  }
}
