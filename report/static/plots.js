// Plots tell the numbers of a column below them: of the one pointed at, or reached by the arrow keys.

function show(drawn, column) {
  const told = drawn.closest("figure").querySelector("[data-told]");
  told.dataset.gist ??= told.textContent;
  for (const other of drawn.querySelectorAll(".at")) other.classList.remove("at");
  column?.classList.add("at");
  told.textContent = column ? column.querySelector("title").textContent : told.dataset.gist;
}

function step(drawn, key) {
  const columns = [...drawn.querySelectorAll(".column")];
  const at = columns.findIndex((column) => column.classList.contains("at"));
  const last = columns.length - 1;
  const to = { ArrowLeft: at < 0 ? last : at - 1, ArrowRight: at + 1, Home: 0, End: last, Escape: -1 }[key];
  if (to === undefined) return false;
  show(drawn, key === "Escape" ? null : columns[Math.min(Math.max(to, 0), last)]);
  return true;
}

export function tellPlots(root) {
  for (const drawn of root.querySelectorAll(".drawn")) {
    drawn.tabIndex = 0;
    drawn.closest("figure").querySelector("[data-told]").setAttribute("aria-live", "polite");
    drawn.addEventListener("pointerover", (event) => show(drawn, event.target.closest(".column")));
    // A finger leaves when it lifts, and wants to read what it touched.
    drawn.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") show(drawn, null); });
    drawn.addEventListener("blur", () => show(drawn, null));
    drawn.addEventListener("keydown", (event) => { if (step(drawn, event.key)) event.preventDefault(); });
  }
}
