// What came, in rings; and how it is drawn: strips over one time axis, the newest step at the
// right.
// as in srnn.analysis.style
const COLOURS = ["#4477AA", "#66CCEE", "#228833", "#CCBB44", "#EE6677", "#AA3377", "#BBBBBB"];
const dark = matchMedia("(prefers-color-scheme: dark)");

// ── what came: the last steps, in rings ──

export class Ring {
  constructor(window, rows, classes) {
    Object.assign(this, { window, rows, classes, next: 0, first: 0, channels: -1, begins: [] });
    this.label = new Int16Array(window).fill(-1);
    this.truth = new Int16Array(window).fill(-1);
    this.values = rows.map((r) => new Int8Array(window * r));
    this.shares = new Uint8Array(window * classes);
    this.seen = new Uint8Array(window);
  }

  add(head, data, at) {
    const { n, step, signal } = head, W = this.window;
    if (signal !== this.channels) {
      this.channels = signal;
      this.signal = new Float32Array(W * signal * 2).fill(NaN);
    }
    if (!this.next) this.first = this.next = step;
    const lost = Math.min(step - this.next, W); // frames that were left out
    for (let s = step - lost; s < step; s++) this.seen[s % W] = 0;
    const take = (type, count) => {
      const made = new type(data, at, count);
      at += made.byteLength;
      return made;
    };
    const curve = take(Float32Array, n * signal * 2);
    const label = take(Int16Array, n), truth = take(Int16Array, n);
    const values = this.rows.map((r) => take(Int8Array, n * r));
    const shares = take(Uint8Array, n * this.classes);
    for (let k = Math.max(0, n - W); k < n; k++) {
      const slot = (step + k) % W;
      this.seen[slot] = 1;
      this.label[slot] = label[k];
      this.truth[slot] = truth[k];
      const put = (to, from, size) => to.set(from.subarray(k * size, (k + 1) * size), slot * size);
      put(this.signal, curve, 2 * signal);
      values.forEach((v, i) => put(this.values[i], v, this.rows[i]));
      put(this.shares, shares, this.classes);
    }
    for (const [k, what] of head.begins) this.begins.push({ ...what, step: step + k });
    this.next = step + n;
    while (this.begins.length > 1 && this.begins[1].step <= this.next - W) this.begins.shift();
  }

  recording() { return this.begins[this.begins.length - 1]; }
}

// ── how it is drawn ──

const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
export function classColour(k) {
  // the same colours again: paler, or darker
  const away = 1 - 0.6 ** Math.floor(k / COLOURS.length), towards = dark.matches ? 255 : 0;
  return rgb(COLOURS[k % COLOURS.length]).map((v) => Math.round(v + away * (towards - v)));
}
export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
const light = ([r, g, b]) => 0.299 * r + 0.587 * g + 0.114 * b > 140;
const brief = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);

// A strip of rows: one pixel a row and column, drawn as it comes. paint(row, value) gives
// [r, g, b, alpha].
class Raster {
  constructor(ring, rows, columns, values, paint, { keepLast = false, upward = false } = {}) {
    Object.assign(this, { ring, rows, columns, values, paint, keepLast, upward });
    this.canvas = new OffscreenCanvas(columns, rows);
    this.pen = this.canvas.getContext("2d");
    this.image = this.pen.createImageData(1, rows);
  }

  // Column `column` of the ring of columns shows steps a … b - 1.
  draw(column, a, b) {
    const pixels = this.image.data, ring = this.ring, W = ring.window;
    for (let r = 0; r < this.rows; r++) {
      let value = 0;
      for (let s = a; s < b; s++) {
        const v = ring.seen[s % W] ? this.values[(s % W) * this.rows + r] : this.keepLast ? -1 : 0;
        if (this.keepLast || Math.abs(v) > Math.abs(value)) value = v;
      }
      const [red, green, blue, alpha] = this.paint(r, value);
      pixels.set([red, green, blue, alpha], 4 * (this.upward ? this.rows - 1 - r : r));
    }
    this.pen.putImageData(this.image, column % this.columns, 0);
  }
}

export class Scope {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.range = [];
    new ResizeObserver(() => this.lay()).observe(canvas.parentElement);
    dark.addEventListener("change", () => this.lay());
  }

  // Show another ring, of what `about` says.
  show(ring, about) { Object.assign(this, { ring, about, strips: null, range: [] }); }

  lay() {
    const { ring, about } = this;
    if (!ring) return;
    const style = getComputedStyle(document.documentElement);
    const get = (name) => style.getPropertyValue(name).trim();
    this.ink = get("--ink"); this.soft = get("--soft"); this.line = get("--line");
    const ink = rgb(this.ink), rise = rgb(get("--rise")), fall = rgb(get("--fall"));
    const width = this.canvas.clientWidth, small = width < 520;
    this.ratio = devicePixelRatio || 1;
    this.left = small ? 58 : 92; this.right = small ? 38 : 44;
    this.plot = Math.max(60, width - this.left - this.right);
    this.shown = Math.min(ring.window, Math.round(this.plot * 2));
    this.columns = Math.min(this.shown, Math.floor(this.plot * this.ratio));
    const signed = (v) => [...(v < 0 ? fall : rise), Math.min(255, 2 * Math.abs(v))];
    const plain = (v) => [...ink, Math.min(255, 2 * Math.abs(v))];
    const strips = [];
    const tall = (rows, most) => {
      const wanted = Math.min(most, rows * (rows > 60 ? 1 : 3));
      return Math.max(wanted, rows * 1, rows <= 8 ? rows * 12 : 48);
    };
    if (ring.channels > 0) {
      const height = (small ? 44 : 58) * Math.min(ring.channels, 3);
      strips.push({ kind: "curve", title: "signal", height });
    }
    const rows = [about.input, ...about.layers];
    ring.rows.forEach((r, k) => {
      const title = k ? about.layers[k - 1].name : "input";
      const many = rows[k].channels ?? rows[k].neurons, detail = many > 1 ? String(many) : "";
      const paint = k && about.layers[k - 1].spiking ? (_, v) => plain(v) : (_, v) => signed(v);
      const upward = !k && about.input.sound;
      const raster = new Raster(ring, r, this.columns, ring.values[k], paint, { upward });
      strips.push({ kind: "raster", title, detail, height: tall(r, 112), raster });
    });
    const colours = about.classes.map((_, k) => classColour(k)), K = ring.classes;
    const each = K > 20 ? 9 : K > 12 ? 12 : 15;
    const above = (v) => Math.max(0, v / 255 - 1 / K) * K / (K - 1); // of a share, above chance
    const shade = (r, v) => [...colours[r], 255 * Math.sqrt(above(v))];
    const scores = new Raster(ring, K, this.columns, ring.shares, shade);
    strips.push({ kind: "scores", title: "scores", height: K * each, each, raster: scores });
    const band = (title, values) => ({ kind: "band", title, values, height: 20,
      raster: new Raster(ring, 1, this.columns, values,
        (_, v) => (v < 0 ? [...ink, 16] : [...colours[v], 255]), { keepLast: true }) });
    strips.push({ ...band("decision", ring.label), gap: 10 });
    strips.push({ ...band("truth", ring.truth), gap: 3 });
    const grows = (s) => s.kind === "curve" || s.raster?.rows > 8 && s.kind === "raster";
    const roomy = strips.filter(grows), sum = (list) => list.reduce((t, s) => t + s.height + 14, 0);
    const spare = small ? 0 : 700 - sum(strips);
    const grow = 1 + Math.min(0.9, Math.max(0, spare / (sum(roomy) || 1)));
    for (const strip of roomy) strip.height = Math.round(strip.height * grow);
    let y = 16;
    for (const strip of strips) { y += strip.gap ?? 14; strip.y = y; y += strip.height; }
    const drawn = Math.max(ring.first, ring.next - this.shown);
    Object.assign(this, { strips, colours, height: y + 22, drawn });
    this.canvas.style.height = `${this.height}px`;
    this.canvas.width = Math.round(width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    this.width = width;
    this.draw();
  }

  column(step) { return Math.floor(step * this.columns / this.shown); }
  x(step) { return this.left + this.plot - (this.ring.next - step) * this.plot / this.shown; }

  draw() {
    if (!this.strips) return;
    const { ring } = this;
    const pen = this.pen, per = this.shown / this.columns;
    const from = Math.max(ring.next - this.shown, ring.first);
    for (let c = this.column(Math.max(this.drawn, from)); c <= this.column(ring.next - 1); c++) {
      const a = Math.max(from, Math.ceil(c * per));
      const b = Math.min(ring.next, Math.max(Math.ceil((c + 1) * per), a + 1));
      for (const strip of this.strips) strip.raster?.draw(c, a, b);
    }
    this.drawn = ring.next;
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    pen.textBaseline = "middle";
    for (const strip of this.strips) {
      this.name(strip);
      if (strip.kind === "curve") this.curve(strip, from);
      else this.blit(strip, from);
      if (strip.kind === "band") this.words(strip, from);
    }
    this.marks(from);
  }

  name(strip) {
    const { ring, about } = this;
    const pen = this.pen, K = ring.classes;
    pen.textAlign = "right";
    if (strip.kind === "scores") {
      pen.font = `${Math.min(12, strip.each)}px system-ui, sans-serif`;
      const last = (ring.next - 1 + ring.window) % ring.window;
      for (let k = 0; k < K; k++) {
        const y = strip.y + (k + 0.5) * strip.each, leads = ring.next && ring.label[last] === k;
        pen.fillStyle = leads ? this.ink : this.soft;
        pen.textAlign = "right";
        pen.fillText(brief(about.classes[k], this.left < 80 ? 8 : 13), this.left - 8, y,
                     this.left - 12);
        pen.textAlign = "left";
        const share = ring.next ? ring.shares[last * K + k] / 2.55 : 0;
        if (share >= 0.5) pen.fillText(`${Math.round(share)} %`, this.left + this.plot + 6, y);
      }
      return;
    }
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = this.soft;
    if (strip.kind === "curve" && ring.channels > 1 && this.leads?.length === ring.channels) {
      this.leads.forEach((name, k) => {
        const y = strip.y + (k + 0.55) * strip.height / ring.channels;
        pen.fillText(brief(name, 13), this.left - 8, y, this.left - 12);
      });
      return;
    }
    const middle = strip.y + strip.height / 2;
    pen.fillText(strip.title, this.left - 8, strip.detail ? middle - 7 : middle);
    if (strip.detail) pen.fillText(strip.detail, this.left - 8, middle + 8);
  }

  blit(strip, from) {
    const { ring } = this;
    const pen = this.pen, C = this.columns, end = this.column(ring.next - 1) + 1;
    const begin = Math.max(this.column(from), end - C);
    if (strip.kind !== "band") {
      pen.fillStyle = this.line;
      pen.globalAlpha = 0.25;
      pen.fillRect(this.left, strip.y, this.plot, strip.height);
      pen.globalAlpha = 1;
    }
    pen.imageSmoothingEnabled = false;
    const unit = this.plot / C;
    for (let a = begin; a < end;) {
      const slot = a % C, n = Math.min(C - slot, end - a);
      pen.drawImage(strip.raster.canvas, slot, 0, n, strip.raster.rows,
                    this.left + this.plot - (end - a) * unit, strip.y, n * unit, strip.height);
      a += n;
    }
  }

  curve(strip, from) {
    const { ring } = this;
    const pen = this.pen, c = ring.channels, W = ring.window, each = strip.height / c;
    for (let k = 0; k < c; k++) {
      let low = Infinity, high = -Infinity;
      for (let s = from; s < ring.next; s++) {
        const at = ((s % W) * c + k) * 2;
        if (ring.seen[s % W] && ring.signal[at] < low) low = ring.signal[at];
        if (ring.seen[s % W] && ring.signal[at + 1] > high) high = ring.signal[at + 1];
      }
      if (low > high) continue;
      const is = this.range[k] ?? { low, high }; // widens at once, narrows slowly
      is.low = Math.min(low, is.low + 0.02 * (low - is.low));
      is.high = Math.max(high, is.high + 0.02 * (high - is.high));
      this.range[k] = is;
      const span = Math.max(is.high - is.low, 1e-6);
      const y = (v) => strip.y + each * (k + 0.95) - 0.9 * each * (v - is.low) / span;
      pen.beginPath();
      let open = false;
      for (let s = from; s < ring.next; s++) {
        const at = ((s % W) * c + k) * 2, x = this.x(s + 0.5);
        if (!ring.seen[s % W] || Number.isNaN(ring.signal[at])) { open = false; continue; }
        if (open) pen.lineTo(x, y(ring.signal[at])); else pen.moveTo(x, y(ring.signal[at]));
        if (ring.signal[at + 1] !== ring.signal[at]) pen.lineTo(x, y(ring.signal[at + 1]));
        open = true;
      }
      pen.strokeStyle = this.ink; pen.lineWidth = 1.1; pen.lineJoin = "round"; pen.stroke();
    }
  }

  words(strip, from) {
    const { ring, about } = this;
    const pen = this.pen, W = ring.window;
    pen.font = "11px system-ui, sans-serif"; pen.textAlign = "center";
    for (let s = from, a = from; s <= ring.next; s++) {
      if (s < ring.next && s > a && strip.values[s % W] === strip.values[a % W]) continue;
      if (s > a) {
        const k = strip.values[a % W], x0 = this.x(a), x1 = this.x(s);
        const text = k >= 0 && ring.seen[a % W] ? brief(about.classes[k], 16) : "";
        if (text && pen.measureText(text).width < x1 - x0 - 4) {
          pen.fillStyle = light(this.colours[k]) ? "#15171a" : "#ffffff";
          pen.fillText(text, (x0 + x1) / 2, strip.y + strip.height / 2 + 0.5);
        }
        a = s;
      }
    }
  }

  marks(from) {
    const { ring, about } = this;
    const pen = this.pen, bottom = this.height - 22;
    pen.font = "11px system-ui, sans-serif"; pen.textAlign = "left"; pen.lineWidth = 1;
    let free = -Infinity;
    for (const b of ring.begins) {
      if (b.step < from || b.step >= ring.next) continue;
      const x = this.x(b.step);
      pen.strokeStyle = this.soft; pen.globalAlpha = 0.4;
      pen.beginPath(); pen.moveTo(x, 20); pen.lineTo(x, bottom); pen.stroke();
      pen.globalAlpha = 1;
      const text = brief(b.name, 28);
      if (x > free && x + pen.measureText(text).width < this.width) {
        pen.fillStyle = this.soft;
        pen.fillText(text, x, 10);
        free = x + pen.measureText(text).width + 8;
      }
    }
    const seconds = this.shown / about.rate, most = Math.max(3, this.plot / 110);
    const every = [0.1, 0.2, 0.5, 1, 2, 5, 10].find((t) => seconds / t <= most) ?? 20;
    pen.textAlign = "center"; pen.fillStyle = this.soft;
    for (let t = 0; t < seconds; t += every) {
      const x = this.left + this.plot - t * about.rate * this.plot / this.shown;
      pen.fillRect(x, bottom, 1, 4);
      const text = about.timeless ? `−${Math.round(t * about.rate)}` : `−${+t.toFixed(1)} s`;
      if (x > this.left + 12 || !t) pen.fillText(t ? text : "now", x, bottom + 13);
    }
  }
}
