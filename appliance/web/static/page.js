// Keeps the page live: the server sends parts of it as HTML it rendered itself, and each is fitted into
// the place of the old one so that focus, scrolling and open details stay where they are.

const POLL_MS = 2000; // a page of one message or person asks again by itself
const link = document.getElementById("link");

function say(state, words) {
  link.dataset.state = state;
  link.lastElementChild.textContent = words;
}

function sameKind(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
}

function fit(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  const changed = old.dataset && old.dataset.state !== undefined && old.dataset.state !== fresh.dataset.state;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(old.nodeName === "DETAILS" && name === "open")) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !(old.nodeName === "DETAILS" && name === "open")) old.setAttribute(name, value);
  }
  if (changed) old.classList.add("changed");
  fitChildren(old, fresh);
}

function fitChildren(old, fresh) {
  const known = new Map();
  for (const child of old.children) if (child.id) known.set(child.id, child);
  let place = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const mine = wanted.id ? known.get(wanted.id) : undefined;
    if (mine) {
      if (mine !== place) old.insertBefore(mine, place);
      else place = place.nextSibling;
      fit(mine, wanted);
      known.delete(wanted.id);
    } else if (!wanted.id && place && !place.id && sameKind(place, wanted)) {
      const next = place.nextSibling;
      fit(place, wanted);
      place = next;
    } else {
      if (wanted.classList && wanted.classList.contains("message")) wanted.classList.add("fresh");
      old.insertBefore(wanted, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function show(parts) {
  for (const [id, html] of Object.entries(parts)) {
    const old = document.getElementById(id);
    if (!old) continue;
    const fresh = document.createElement("div");
    fresh.innerHTML = html;
    fitChildren(old, fresh);
  }
}

function listen() {
  const events = new EventSource("/events");
  events.onopen = () => say("on", "Live");
  events.onerror = () => say("off", "No connection; trying again");
  events.onmessage = (event) => show(JSON.parse(event.data));
}

async function poll(main) {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    fitChildren(main, page.getElementById("main"));
  } catch {
    // the box restarts or the network is gone: the next round sees
  }
}

const main = document.getElementById("main");
if (link) listen();
else if (main.dataset.again !== undefined) setInterval(poll, POLL_MS, main);
