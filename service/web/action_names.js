/** The names of actions on the page: from the models, otherwise the labels with spaces for underscores. */

const names = new Map();

/** Takes the models of the server. Of a label that several models name, the first name counts. */
export function nameActions(models) {
  // While servers are upgraded, one of the previous version may answer.
  for (const { display_names: given = {} } of models) {
    for (const [label, name] of Object.entries(given)) if (!names.has(label)) names.set(label, name);
  }
}

export function actionName(label) {
  return names.get(label) ?? label.replaceAll("_", " ");
}
