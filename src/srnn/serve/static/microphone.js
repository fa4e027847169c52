// Sound from the browser's rate to the task's: a windowed sinc, in pieces.
const WIDTH = 12; // zero crossings on each side

class Microphone extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.rate = options.processorOptions.rate;
    this.ratio = sampleRate / this.rate;
    this.cut = Math.min(1, 1 / this.ratio) * 0.92;
    this.half = Math.ceil(WIDTH / this.cut);
    this.sound = new Float32Array(this.half);
    this.at = this.half; // where the next sample lies in `sound`
    this.out = [];
  }

  sample(at) {
    let sum = 0;
    for (let k = Math.ceil(at - this.half + 1); k < at + this.half; k++) {
      const t = at - k, x = Math.PI * t * this.cut;
      const window = 0.5 + 0.5 * Math.cos(Math.PI * t / this.half);
      sum += this.sound[k] * window * (x ? Math.sin(x) / x : 1) * this.cut;
    }
    return sum;
  }

  process([input]) {
    if (!input.length) return true;
    const joined = new Float32Array(this.sound.length + input[0].length);
    joined.set(this.sound);
    for (const channel of input)
      channel.forEach((v, k) => { joined[this.sound.length + k] += v / input.length; });
    this.sound = joined;
    for (; this.at + this.half < joined.length; this.at += this.ratio)
      this.out.push(this.sample(this.at));
    const used = Math.max(0, Math.floor(this.at) - this.half);
    this.sound = joined.slice(used);
    this.at -= used;
    if (this.out.length >= this.rate / 40) {
      const block = Float32Array.from(this.out);
      this.out = [];
      this.port.postMessage(block, [block.buffer]);
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
