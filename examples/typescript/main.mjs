// Print each action of every session as it starts, after a cursor if one is given; a line begins with its cursor:
//
//     npm run follow -- http://127.0.0.1:8000 [CURSOR]
//
// The API key, if the server requires one, is read from the variable CAKE_KEY.

import { follow } from "./follow.js";

const [url = "http://127.0.0.1:8000", after] = process.argv.slice(2);
for await (const { cursor, event } of follow(url, after, process.env.CAKE_KEY)) {
  if (event.type === "action.start") console.log(cursor, event.session_id, event.label, event.start_s, event.score);
}
