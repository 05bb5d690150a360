/** A short tone when an action starts in any session, if the user wants it; off until then. */

const TONE_HZ = 880;
const LENGTH_S = 0.35;
const LOUDNESS = 0.2;
const button = document.getElementById("sound");
/** Browsers play nothing before a click; while it is off, there is none. */
let audio = null;
let silentUntil_s = 0;

/** Follows all sessions with a LogFeed. */
export function startSound(feed) {
  button.addEventListener("click", toggle);
  feed.listen(({ event }) => {
    if (audio !== null && event.type === "action.start") play();
  });
}

function toggle() {
  if (audio === null) {
    audio = new AudioContext();
    silentUntil_s = 0;
    // So that one hears how it sounds.
    play();
  } else {
    audio.close();
    audio = null;
  }
  button.setAttribute("aria-pressed", String(audio !== null));
}

/** Plays one tone; actions that start during it are covered by it. */
function play() {
  const now_s = audio.currentTime;
  if (now_s < silentUntil_s) return;
  silentUntil_s = now_s + LENGTH_S;
  const tone = new OscillatorNode(audio, { frequency: TONE_HZ });
  const loudness = new GainNode(audio, { gain: LOUDNESS });
  loudness.gain.setTargetAtTime(0, now_s, LENGTH_S / 5);
  tone.connect(loudness).connect(audio.destination);
  tone.start();
  tone.stop(silentUntil_s);
}
