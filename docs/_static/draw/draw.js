// Draws tiles with an exported generator. All files come as scripts, because a page that was opened from a folder
// (file://) may load scripts and nothing else.
"use strict";
(() => {
  const here = document.currentScript.src.replace(/draw\.js.*$/, "");
  const $ = (name) => document.getElementById(`draw-${name}`);
  const MONTHS = "January February March April May June July August September October November December".split(" ");
  const files = (window.drawFiles = {});
  const generators = {};
  let current = null;
  let wanted = false;
  let running = false;

  const status = (text) => ($("status").textContent = text);

  // The smallest module with one SIMD instruction: browsers since 2021 accept it.
  const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
  const able = () =>
    typeof WebAssembly === "object" && typeof BigInt64Array === "function" && WebAssembly.validate(new Uint8Array(SIMD));

  const script = (name) =>
    new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = here + name;
      element.onload = resolve;
      element.onerror = () => reject(new Error(`${name} could not be read`));
      document.head.append(element);
    });

  async function bytes(name) {
    if (!(name in files)) await script(`${name}.js`);
    const text = atob(files[name]);
    delete files[name];
    const out = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
    return out;
  }

  async function start() {
    await script("ort.wasm.min.js");
    const module = new Blob([await bytes("ort-wasm-simd-threaded.mjs")], { type: "text/javascript" });
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(module) };
    ort.env.wasm.wasmBinary = (await bytes("ort-wasm-simd-threaded.wasm")).buffer;
  }

  async function generator(name) {
    if (!generators[name]) {
      const text = new TextDecoder().decode(await bytes(`${name}/generator.json`));
      const session = async (file) => ort.InferenceSession.create(await bytes(`${name}/${file}`));
      generators[name] = {
        ...JSON.parse(text),
        denoiser: await session("denoiser.onnx"),
        decoder: await session("decoder.onnx"),
      };
    }
    return generators[name];
  }

  // Standard normal numbers from a seed: mulberry32 and the Box-Muller transform.
  function noise(seed, count) {
    let state = (seed ^ 0x9e3779b9) >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    return Float32Array.from({ length: count }, () =>
      Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
  }

  const tensor = (values, shape) => new ort.Tensor("float32", Float32Array.from(values), shape);

  // One tile: { pixels: Float32Array [3, H, W] in [0, 1], height, width }.
  async function sample(g, { label, steps, guidance, month, seed, latents }) {
    const words = Object.keys(g.prompts);
    const rows = (half, index) => ({
      text: half.text[half.text.length > 1 ? index : 0],
      extra: g.extra && half[g.extra][half[g.extra].length > 1 ? (g.extra === "metadata" ? month - 1 : index) : 0],
    });
    const told = rows(g.conditions, words.indexOf(label));
    const untold = rows(g.unconditional, 0);
    const size = g.latents.reduce((a, b) => a * b);
    let x = latents ? Float32Array.from(latents) : noise(seed, size);
    let before = new Float32Array(size);
    for (const step of g.steps[steps]) {
      const [low, high] = g.guidance_interval.map((bound) => bound * g.times);
      const both = guidance !== 1 && step.t >= low && step.t <= high;
      const halves = both ? [untold, told] : [told];
      const feeds = {
        latents: tensor(both ? [...x, ...x] : x, [halves.length, ...g.latents]),
        t: tensor(halves.map(() => step.t), [halves.length]),
        text: tensor(halves.flatMap((half) => half.text.flat()), [halves.length, told.text.length, told.text[0].length]),
      };
      if (g.extra) {
        const tail = Array.isArray(told.extra) ? [told.extra.length] : [];
        feeds.extra = tensor(halves.flatMap((half) => half.extra), [halves.length, ...tail]);
      }
      const { prediction } = await g.denoiser.run(feeds);
      const v = prediction.data;
      const next = new Float32Array(size);
      const clean = new Float32Array(size);
      for (let i = 0; i < size; i++) {
        const said = both ? v[i] + guidance * (v[size + i] - v[i]) : v[i];
        clean[i] = step.p * x[i] + step.q * said;
        next[i] = step.a * x[i] + step.b * clean[i] + step.c * before[i];
      }
      x = next;
      before = clean;
    }
    const { images } = await g.decoder.run({ latents: tensor(x, [1, ...g.latents]) });
    return { pixels: images.data, height: images.dims[2], width: images.dims[3] };
  }

  function paint({ pixels, height, width }) {
    const canvas = $("canvas");
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = Math.round(255 * pixels[c * width * height + i]);
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  const settings = () => ({
    label: $("class").value,
    steps: Object.keys(current.steps)[+$("steps").value],
    guidance: +$("guidance").value,
    month: +$("month").value,
    seed: (Math.floor(Math.abs(+$("seed").value)) || 0) >>> 0,
  });

  function tell() {
    const s = settings();
    $("steps").nextElementSibling.textContent = s.steps;
    $("guidance").nextElementSibling.textContent = s.guidance;
    $("month").nextElementSibling.textContent = MONTHS[s.month - 1];
  }

  // Only the newest wish is drawn: while one tile is on its way, moves of a slider replace each other.
  async function draw() {
    tell();
    wanted = true;
    if (running) return;
    running = true;
    try {
      while (wanted) {
        wanted = false;
        const s = settings();
        const begun = performance.now();
        paint(await sample(current, s));
        const seconds = ((performance.now() - begun) / 1000).toFixed(2);
        $("badge").textContent = `generated · ${current.name} · seed ${s.seed} of this page · ${s.steps} steps · ${seconds} s`;
        const season = current.extra === "metadata" ? ` in ${MONTHS[s.month - 1]}` : "";
        $("canvas").setAttribute("aria-label", `A generated satellite tile of the class ${s.label}${season}, seed ${s.seed}.`);
        await new Promise((resolve) => setTimeout(resolve));
      }
    } finally {
      running = false;
    }
  }

  async function choose(name) {
    status("Reading the generator …");
    current = await generator(name);
    const kept = $("class").value;
    $("class").replaceChildren(...Object.keys(current.prompts).map((word) => new Option(word)));
    $("class").value = kept in current.prompts ? kept : "River" in current.prompts ? "River" : Object.keys(current.prompts)[0];
    const counts = Object.keys(current.steps);
    $("steps").max = counts.length - 1;
    $("steps").value = counts.indexOf(String(current.default_steps));
    $("guidance").value = current.guidance;
    const told = current.extra === "metadata";
    $("month-row").hidden = !told;
    $("year").parentElement.hidden = !told;
    $("controls").disabled = false;
    await draw();
    status("Move a slider: the tile follows.");
  }

  async function year() {
    $("year").disabled = true;
    for (let month = 1; month <= 12; month++) {
      $("month").value = month;
      await draw();
      await new Promise((resolve) => setTimeout(resolve, 120));
    }
    $("year").disabled = false;
  }

  const failed = (error) => {
    status(`The generator could not be started: ${error.message}. The lessons work without it.`);
    $("load").disabled = false;
  };

  async function load() {
    $("load").disabled = true;
    try {
      status("Reading the program that runs networks …");
      if (!window.ort) await start();
      await choose($("model").value);
      $("load").hidden = true;
    } catch (error) {
      failed(error);
    }
  }

  if (!able()) {
    $("load").disabled = true;
    status("This page needs a browser of 2021 or newer (WebAssembly with SIMD). The lessons work in yours.");
    return;
  }
  script("generators.js").then(() => {
    $("model").replaceChildren(...window.drawGenerators.map((name) => new Option(name)));
    $("load").addEventListener("click", load);
    $("model").addEventListener("change", () => choose($("model").value).catch(failed));
    for (const name of ["class", "seed", "steps", "guidance", "month"]) {
      $(name).addEventListener("input", () => draw().catch(failed));
    }
    $("next").addEventListener("click", () => {
      $("seed").value = settings().seed + 1;
      draw().catch(failed);
    });
    $("year").addEventListener("click", () => year().catch(failed));
    $("form").addEventListener("submit", (event) => event.preventDefault());
    window.drawTile = async (name, wish) => sample(await generator(name), wish); // for tests and the curious
  }, failed);
})();
