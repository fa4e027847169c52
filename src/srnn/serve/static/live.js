// The live page of srnn: frames in, a scope and some numbers out. docs/serve.md has the protocol.
import { Ring, Scope, classColour, css } from "./scope.js";

const $ = (id) => document.getElementById(id);
const SPEEDS = [0.25, 0.5, 1, 2, 5, 10, 25, 50, 100];
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const token = new URLSearchParams(location.search).get("token");

let about = null, state = {}, ring = null, scope = null, socket = null, microphone = null,
  tries = 0, heardAt = 0;

// ── numbers ──

const si = (v) => {
  const [unit, size] = [["G", 1e9], ["M", 1e6], ["k", 1e3]].find(([, s]) => v >= s) ?? ["", 1];
  return `${+(v / size).toPrecision(3)} ${unit}`.trim();
};
const short = (v) => +v.toPrecision(3);
const power = (nw) => (nw >= 1000 ? `${short(nw / 1000)} µW` : `${short(nw)} nW`);
const named = (k) => (k === undefined || k === null || k < 0 ? "–" : about.classes[k]);
const put = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

let said = "", saidAt = 0;
function say(text, now = false) {
  // a screen reader cannot follow every change
  if (text === said || (!now && performance.now() - saidAt < 3000)) return;
  said = text; saidAt = performance.now();
  put("say", text);
}

function showStep() {
  const last = (ring.next - 1 + ring.window) % ring.window;
  const k = ring.next ? ring.label[last] : -1, r = ring.recording();
  put("label", named(k));
  $("label").style.setProperty("--class", k >= 0 ? css(classColour(k)) : "");
  $("confidence").value = k >= 0 ? ring.shares[last * ring.classes + k] / 255 : 0;
  put("truth", ring.next ? named(ring.truth[last]) : "–");
  if (r) {
    put("name", r.name);
    const t = (ring.next - r.step) / about.rate;
    put("clock", about.timeless ? `${ring.next - r.step} steps` : `${t.toFixed(1)} s`);
  }
  if (k >= 0) say(`Decision ${named(k)}`);
  Object.assign(document.body.dataset, { step: ring.next, label: k });
}

const touched = new Map(); // controls that somebody moves are left alone for a moment
const mine = (id) => performance.now() - (touched.get(id) ?? -1e9) < 600;
function value(id, v) { if (!mine(id) && $(id).value !== String(v)) $(id).value = v; }
function options(id, entries) {
  const key = JSON.stringify(entries);
  if ($(id).dataset.key === key) return;
  $(id).dataset.key = key;
  $(id).replaceChildren(...entries.map(([v, text]) => new Option(text, v)));
}

function showState() {
  const s = state, live = s.source === "microphone";
  $("simulated").hidden = !about.simulated && s.source !== "simulated";
  $("link").dataset.is = s.paused ? "paused" : "live";
  put("link", s.paused ? "paused" : "live");
  put("pause", s.paused ? "Go on" : "Pause");
  $("pause").setAttribute("aria-pressed", s.paused);
  if (!SPEEDS.includes(s.speed)) {
    options("speed", [...SPEEDS, s.speed].sort((a, b) => a - b).map((v) => [v, `${v}×`]));
  }
  value("speed", s.speed); value("source", s.source); value("recording", s.index + 1);
  value("noise", s.noise);
  scope.leads = s.leads;
  options("lead", [["", "none"], ...s.leads.map((name, k) => [k, name])]);
  value("lead", s.lead ?? "");
  put("count", live ? "" : `of ${s.count}`);
  $("recording").max = s.count;
  for (const id of ["speed", "recording", "previous", "next"]) $(id).disabled = live;
  const flipped = (v) => `${+(10 * v).toFixed(1)} % flipped`, sd = (v) => `${v.toFixed(1)} sd`;
  put("noise-is", s.noise ? (s.noise_on === "events" ? flipped : sd)(s.noise) : "none");
  const share = (100 * s.right / s.known).toFixed(1),
    what = about.per_step ? "steps" : "recordings";
  put("right", s.known ? `${share} % of ${si(s.known)} ${what}` : "–");
  const timeless = `Its steps are no time: 1× is ${about.rate} steps a second.`;
  put("note", [s.note, about.timeless ? timeless : ""].filter(Boolean).join(" "));
  $("alert").hidden = !s.error; put("alert", s.error);
  put("played", s.paused ? "paused" : `${+s.speed_measured.toPrecision(2)}× real time`);
  put("viewers", String(s.viewers));
  if (s.cost) {
    const own = s.cost, lstm = about.lstm;
    const most = Math.max(own.operations_per_second, lstm.operations_per_second);
    $("bar-own").style.width = `${100 * own.operations_per_second / most}%`;
    $("bar-lstm").style.width = `${100 * lstm.operations_per_second / most}%`;
    put("ops-own", si(own.operations_per_second)); put("ops-lstm", si(lstm.operations_per_second));
    put("power", `${power(own.nanowatts)}, LSTM ${power(lstm.nanowatts)}`);
    put("a-step", `${si(own.mac)} MAC + ${si(own.ac)} AC`);
    const rate = (k) => `${+(100 * s.rates[k]).toPrecision(2)} %`;
    const rates = about.layers.map((l, k) => (l.spiking ? rate(k) : "")).filter(Boolean);
    put("firing", rates.join(", ") || "no spikes");
    put("rules", "Rules “measured” of srnn energy, spikes of the last 2 s. "
      + `Here ${own.process}; the LSTM dense, ${lstm.process}.`);
  }
}

// ── the connection ──

function send(what) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  socket.send(what instanceof Float32Array ? what : JSON.stringify(what));
}

function connect() {
  const url = new URL("live", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.search = token === null ? "" : `?token=${encodeURIComponent(token)}`;
  socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  const own = socket;
  heardAt = performance.now();
  own.onmessage = ({ data }) => {
    heardAt = performance.now();
    if (typeof data === "string") hear(JSON.parse(data)); else if (ring) frame(data);
  };
  own.onclose = ({ code }) => { if (own === socket) closed(code); };
}

function closed(code) {
  quiet();
  $("link").dataset.is = "off";
  document.body.dataset.link = "off";
  const wrong = code === 4401, wait = Math.min(8, 0.5 * 2 ** tries++) * (0.8 + 0.4 * Math.random());
  put("link", wrong ? "wrong token" : "disconnected");
  $("alert").hidden = false;
  put("alert", wrong
    ? "The token in the address is wrong: open the address that srnn serve printed."
    : "Disconnected. Trying again …");
  say("Disconnected", true);
  if (!wrong) setTimeout(connect, 1000 * wait);
}

function hear(what) {
  if (what.type === "hello") {
    about = what; tries = 0;
    ring = new Ring(what.window, [what.input.rows, ...what.layers.map((l) => l.rows)],
                    what.classes.length);
    scope ??= new Scope($("scope"));
    scope.show(ring, about);
    put("task", `${what.task}`); put("summary", `${what.summary}. ${what.run}`);
    document.title = `${what.task}, live`;
    options("speed", SPEEDS.map((v) => [v, `${v}×`]));
    options("source", Object.entries(what.sources).map(([key, s]) => [key, s.title]));
    if (document.body.dataset.link !== "live") say("Connected", true);
    document.body.dataset.link = "live";
  } else if (what.type === "state") { state = what; heard(what.source); if (about) showState(); }
  else if (what.type === "left_out") put("left-out", String(what.frames));
  else if (what.type === "refused") {
    $("alert").hidden = false;
    put("alert", what.why);
    if (!microphone?.taken) quiet();
  }
}

let asked = false, drawnAt = 0;
function frame(data) {
  const size = new DataView(data).getUint32(0, true), channels = ring.channels;
  ring.add(JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, size))), data, 4 + size);
  if (channels !== ring.channels || !scope.strips) { scope.range = []; scope.lay(); }
  if (!asked) { asked = true; requestAnimationFrame(paint); }
}
function paint(now) {
  if (calm.matches && now - drawnAt < 1000) { requestAnimationFrame(paint); return; }
  asked = false; drawnAt = now;
  showStep();
  scope.draw();
}

setInterval(() => {
  if (socket?.readyState !== WebSocket.OPEN || performance.now() - heardAt <= 5000) return;
  const old = socket;
  socket = null;
  old.close();
  closed(0);
}, 1000);

// ── the microphone ──

async function listen() {
  quiet();
  const started = microphone = {};
  try {
    const { rate } = about.sources.microphone;
    if (!navigator.mediaDevices) {
      const why = "The browser gives a microphone only to pages of this machine, or over https.";
      throw new Error(why);
    }
    const context = started.context = new AudioContext();
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    started.stream = await navigator.mediaDevices.getUserMedia({ audio });
    await context.audioWorklet.addModule("static/microphone.js");
    await context.resume();
    // somebody chose something else meanwhile
    if (microphone !== started) { quiet(started); return; }
    const settings = { numberOfOutputs: 0, processorOptions: { rate } };
    const node = new AudioWorkletNode(context, "microphone", settings);
    node.port.onmessage = ({ data }) => {
      if (microphone === started && !state.paused && state.source === "microphone") send(data);
    };
    context.createMediaStreamSource(started.stream).connect(node);
    send({ source: "microphone" });
  } catch (error) {
    quiet(started); touched.delete("source"); value("source", state.source);
    $("alert").hidden = false; put("alert", `No microphone: ${error.message}`);
  }
}
function quiet(which = microphone) {
  which?.stream?.getTracks().forEach((track) => track.stop());
  which?.context?.close().catch(() => {});
  if (which === microphone) microphone = null;
}
// states on their way when the microphone was asked for still name the source before it
function heard(source) {
  if (source !== "microphone") { if (microphone?.taken) quiet(); }
  else if (microphone) microphone.taken = true;
}

// ── controls ──

const on = (id, event, act) => $(id).addEventListener(event, () => {
  touched.set(id, performance.now());
  act($(id).value);
});
on("pause", "click", () => send({ pause: !state.paused }));
on("reset", "click", () => send({ reset: true }));
on("speed", "change", (v) => send({ speed: Number(v) }));
on("noise", "input", (v) => send({ noise: Number(v) }));
on("lead", "change", (v) => send({ lead: v === "" ? null : Number(v) }));
on("source", "change", (v) => {
  if (v === "microphone") listen();
  else { quiet(); send({ source: v }); }
});
const go = (k) => {
  if (!state.count || state.source === "microphone") return;
  send({ recording: ((k % state.count) + state.count) % state.count });
};
on("recording", "change", (v) => { if (v >= 1) go(Math.round(v) - 1); });
on("previous", "click", () => go(state.index - 1));
on("next", "click", () => go(state.index + 1));
$("controls").addEventListener("submit", (event) => event.preventDefault());
addEventListener("keydown", (event) => {
  if (event.target !== document.body || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = {
    " ": () => $("pause").click(),
    ArrowLeft: () => $("previous").click(),
    ArrowRight: () => $("next").click(),
    r: () => $("reset").click(),
  }[event.key];
  if (act) { event.preventDefault(); act(); }
});

window.srnn = { // to look inside
  get ring() { return ring; },
  get state() { return state; },
  get about() { return about; },
};
connect();
