// Times as the viewer reads them: how long ago, with the exact time of their own zone as the title.
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const year = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const second = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function words(at, now) {
  const ago = (now - at) / 1000;
  if (ago < 0) return ago > -60 ? "in a moment" : ago > -5400 ? `in ${Math.round(-ago / 60)} min` : `${day.format(at)} ${clock.format(at)}`;
  if (ago < 10) return "just now";
  if (ago < 60) return `${Math.floor(ago)} s ago`;
  if (ago < 3600) return `${Math.floor(ago / 60)} min ago`;
  if (ago < 6 * 3600) return `${Math.floor(ago / 3600)} h ago`;
  if (at.toDateString() === now.toDateString()) return clock.format(at);
  return at.getFullYear() === now.getFullYear() ? `${day.format(at)}, ${clock.format(at)}` : year.format(at);
}

export function tellTimes(root) {
  const now = new Date();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const told = time.dataset.exact === undefined ? words(at, now) : second.format(at);
    if (time.textContent !== told) time.textContent = told;
    time.title = exact.format(at);
  }
}
