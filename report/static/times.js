// Times as the viewer reads them: how long ago, else in the viewer's own zone, in the form that the server writes, too.
const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

const two = (number) => String(number).padStart(2, "0");
const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;
const second = (at) => `${clock(at)}:${two(at.getSeconds())}`;
const day = (at) => `${at.getDate()} ${MONTHS[at.getMonth()].slice(0, 3)}`;

function zone(at) {
  const minutes = -at.getTimezoneOffset();
  const [sign, size] = [minutes < 0 ? "−" : "+", Math.abs(minutes)];
  return minutes ? `UTC${sign}${two(Math.floor(size / 60))}:${two(size % 60)}` : "UTC";
}

function exact(at) {
  return `${WEEKDAYS[at.getDay()]}, ${at.getDate()} ${MONTHS[at.getMonth()]} ${at.getFullYear()}, ${second(at)} ${zone(at)}`;
}

function words(at, now) {
  const ago = (now - at) / 1000;
  if (ago < 0 && ago > -60) return "in a moment";
  if (ago < 0 && ago > -5400) return `in ${Math.round(-ago / 60)} min`;
  if (ago >= 0 && ago < 10) return "just now";
  if (ago >= 0 && ago < 60) return `${Math.floor(ago)} s ago`;
  if (ago >= 0 && ago < 3600) return `${Math.floor(ago / 60)} min ago`;
  if (at.toDateString() === now.toDateString()) return clock(at);
  return at.getFullYear() === now.getFullYear() ? `${day(at)} ${clock(at)}` : `${day(at)} ${at.getFullYear()}`;
}

export function tellTimes(root) {
  const now = new Date();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const told = time.dataset.exact === undefined ? words(at, now) : `${day(at)} ${at.getFullYear()} ${second(at)}`;
    if (time.textContent !== told) time.textContent = told;
    time.title = exact(at);
  }
}
