/** Keys that move between the items of a list or grid: the arrows, and J and K. */

/** The item to which a key leads from that with the focus, or null. `columns` are those of the grid. */
export function nextByKey(event, items, columns = 1) {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  const steps = { ArrowUp: -columns, ArrowDown: columns, k: -1, j: 1 };
  if (columns > 1) Object.assign(steps, { ArrowLeft: -1, ArrowRight: 1 });
  const step = steps[event.key];
  if (step === undefined) return null;
  return items[items.findIndex((item) => item.contains(event.target)) + step] ?? null;
}

/** How many columns a grid has at its width. */
export function columnsOf(grid) {
  return getComputedStyle(grid).gridTemplateColumns.split(" ").length;
}
