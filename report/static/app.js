// What makes the pages livelier; each of them works without.
import { tellPlots } from "./plots.js";
import { tellTimes } from "./times.js";

tellTimes(document);
tellPlots(document);
setInterval(() => tellTimes(document), 30_000);

// A menu closes when something else is clicked, or by Escape.
const menus = () => document.querySelectorAll("details.menu[open]");
document.addEventListener("click", (event) => {
  for (const menu of menus()) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of menus()) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

const print = document.getElementById("print");
if (print) {
  print.hidden = false;
  print.addEventListener("click", () => window.print());
}

const lively = document.querySelector("main [data-live]");
if (lively) import("./live.js").then(({ follow }) => follow(lively));

// On a telephone the navigation is wider than the page: show where one is.
document.querySelector(".bar nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
