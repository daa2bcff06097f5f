// Live updates: rows that the page shows change in place, new ones are announced, and shown when asked for.
import { tellPlots } from "./plots.js";
import { tellTimes } from "./times.js";

const said = document.getElementById("said");
let saying = 0;

// A reader of the screen hears of some changes, not of each of a thousand.
function say(text) {
  clearTimeout(saying);
  saying = setTimeout(() => { said.textContent = text; }, 400);
}

function parsed(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

export function follow(root) {
  let source = null;
  let serial = root.dataset.serial;
  let fresh = 0;
  let many = false;
  let loading = false;
  let again = false;
  const isLog = root.id === "log";
  const following = () => isLog && sessionStorage.getItem("follow") === "yes";

  const address = () => {
    const url = new URL(root.dataset.live, location.href);
    url.searchParams.set("since", serial);
    for (const row of root.querySelectorAll("tr[id^='r-']")) url.searchParams.append("id", row.id.slice(2));
    if (root.dataset.first !== undefined) url.searchParams.set("first", "1");
    return url;
  };

  const announce = () => {
    const news = document.getElementById("news");
    if (!news || !fresh) return;
    const words = `Show ${fresh}${many ? " or more" : ""} new`;
    news.hidden = false;
    document.getElementById("fresh").textContent = words;
    say(`${fresh} new in the log`);
  };

  const replaceRows = (rows) => {
    for (const [code, html] of Object.entries(rows)) {
      const old = document.getElementById(`r-${code}`);
      const made = parsed(`<table><tbody>${html}</tbody></table>`).querySelector("tr");
      if (!old || !made) continue;
      const focused = old.contains(document.activeElement);
      const moved = old.dataset.status !== made.dataset.status;
      tellTimes(made);
      old.replaceWith(made);
      if (focused) made.querySelector("a")?.focus();
      made.classList.add("changed");
      made.addEventListener("animationend", () => made.classList.remove("changed"), { once: true });
      if (moved) say(`${made.querySelector("th").textContent.trim()}: ${made.dataset.status}`);
    }
  };

  const count = (counts) => {
    for (const [status, number] of Object.entries(counts)) {
      const place = document.querySelector(`[data-count="${status}"]`);
      if (place) place.textContent = number.toLocaleString("en-US");
    }
  };

  // The page as it is now, without loading it anew: the place on it and what is typed stay.
  const renew = async () => {
    if (loading) { again = true; return; }
    loading = true;
    again = false;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok || answer.redirected) { location.reload(); return; }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const made = page.getElementById(root.id);
      if (!made) { location.reload(); return; }
      // What was opened stays open, and who is somewhere by the keyboard stays there.
      for (const more of root.querySelectorAll("details[id]")) {
        const same = made.querySelector(`#${more.id}`);
        if (same) same.open = more.open;
      }
      const focused = root.contains(document.activeElement) ? document.activeElement.closest("[id]")?.id : null;
      root.replaceChildren(...made.childNodes);
      document.title = page.title;
      if (focused && focused !== root.id) document.getElementById(focused)?.focus();
      Object.assign(root.dataset, made.dataset);
      if (made.dataset.live === undefined) delete root.dataset.live;
      serial = made.dataset.serial;
      fresh = 0;
      many = false;
      tellTimes(root);
      const far = root.querySelector("[data-say]")?.dataset.say;
      if (far && far !== said.textContent) say(far);
      tellPlots(root);
      listen();
      start();
    } finally {
      loading = false;
      if (again) renew();
    }
  };

  const listen = () => {
    document.getElementById("fresh")?.addEventListener("click", renew);
  };

  const told = (event) => {
    serial = event.lastEventId;
    const data = JSON.parse(event.data);
    if (!isLog) { renew(); return; }
    if (data.rows) replaceRows(data.rows);
    if (data.counts) count(data.counts);
    if (data.fresh) {
      fresh += data.fresh;
      many ||= data.many;
      if (following() && scrollY < 200) renew(); else announce();
    }
  };

  const stop = () => { source?.close(); source = null; };
  const start = () => {
    stop();
    if (document.hidden || root.dataset.live === undefined) return;  // what is over is followed no more
    source = new EventSource(address());
    source.addEventListener("change", told);
    source.addEventListener("anew", renew);
    source.addEventListener("open", () => { document.documentElement.dataset.live = "on"; });
    source.addEventListener("error", () => { document.documentElement.dataset.live = "off"; });
  };

  // A browser has few connections for one server: a page that nobody sees needs none.
  let hidden = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hidden);
    if (document.hidden) hidden = setTimeout(stop, 5000);
    else if (!source) start();
  });
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => { if (event.persisted) start(); });

  const toggle = document.getElementById("follow");
  if (toggle && isLog) {
    toggle.hidden = false;
    const tell = () => { toggle.setAttribute("aria-pressed", String(following())); };
    tell();
    toggle.addEventListener("click", () => {
      sessionStorage.setItem("follow", following() ? "no" : "yes");
      tell();
      if (following() && fresh) renew();
    });
  }
  listen();
  start();
}
