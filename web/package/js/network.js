// The interface of the package, the same in browsers and in Node.js. index.d.ts describes it.

const MODULES = { cpu: () => import("./cpu.js"), webgpu: () => import("./webgpu.js") };

/** Objects whose pixels a canvas reads. */
const DRAWABLE = [
  "HTMLCanvasElement",
  "HTMLImageElement",
  "HTMLVideoElement",
  "ImageBitmap",
  "OffscreenCanvas",
  "VideoFrame",
];

/** Returns `load` of an environment; `init(module, device)` fetches the module's WebAssembly there. */
export function loader(init) {
  const opening = {};
  /** Opens a device once, or again after a failure. */
  const open = (device) => {
    opening[device] ??= openDevice(device, init).catch((error) => {
      delete opening[device];
      throw error;
    });
    return opening[device];
  };
  return async function load(bytes, { device = "cpu" } = {}) {
    const file = toUint8Array(bytes);
    const opened = await open(device);
    return new Network(opened, opened.device.read(file));
  };
}

async function openDevice(name, init) {
  if (!Object.hasOwn(MODULES, name)) throw new Error(`there is no device '${name}': choose 'cpu' or 'webgpu'`);
  if (name === "webgpu" && !(await globalThis.navigator?.gpu?.requestAdapter())) {
    throw new Error("there is no WebGPU here: load with { device: 'cpu' }");
  }
  const module = await MODULES[name]();
  await init(module, name);
  return { name, module, device: await module.Device.open() };
}

function toUint8Array(bytes) {
  if (bytes instanceof ArrayBuffer) return new Uint8Array(bytes);
  if (ArrayBuffer.isView(bytes)) return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  throw new TypeError("load takes the bytes of a network's file: an ArrayBuffer or a Uint8Array");
}

class Network {
  #device;
  #network;
  #widths;
  #classes;

  constructor(device, network) {
    this.#device = device;
    this.#network = network;
    this.#widths = Object.freeze([...network.widths()]);
    this.#classes = Object.freeze(network.classes());
  }

  get device() {
    return this.#device.name;
  }

  get widths() {
    return this.#widths;
  }

  get classes() {
    return this.#classes;
  }

  get imageSize() {
    return this.#live.image_size();
  }

  dimension(width = this.#widths[0]) {
    return this.#live.dimension(width);
  }

  async embed(images, width = this.#widths[0]) {
    const features = await this.#live.embed(this.#list(images), width);
    return Array.isArray(images) ? features : features[0];
  }

  async classify(images, width = this.#widths[0]) {
    const ranked = (probabilities) =>
      this.#classes
        .map((name, index) => ({ class: name, probability: probabilities[index] }))
        .sort((a, b) => b.probability - a.probability);
    const rows = (await this.#live.classify(this.#list(images), width)).map(ranked);
    return Array.isArray(images) ? rows : rows[0];
  }

  dispose() {
    this.#network?.free();
    this.#network = undefined;
  }

  get #live() {
    if (!this.#network) throw new Error("the network has been disposed of: load it again");
    return this.#network;
  }

  #list(images) {
    const list = new this.#device.module.Images();
    for (const image of Array.isArray(images) ? images : [images]) add(list, image);
    return list;
  }
}

/** Copies an image's pixels to a list of the module. */
function add(list, image) {
  const { data, width, height } = isPixels(image) ? image : draw(image);
  const pixels = width * height;
  if (data.length === 4 * pixels) list.add_rgba(width, height, data);
  else if (data.length === 3 * pixels) list.add_rgb(width, height, data);
  else {
    throw new Error(
      `an image of ${width} x ${height} pixels has 3 bytes per pixel (RGB) or 4 (RGBA), but its data has ${data.length} bytes`,
    );
  }
}

function isPixels(image) {
  const hasBytes = image?.data instanceof Uint8Array || image?.data instanceof Uint8ClampedArray;
  return hasBytes && [image.width, image.height].every((side) => Number.isInteger(side) && side >= 0);
}

/** Reads the pixels of an object of the browser. */
function draw(image) {
  if (!DRAWABLE.includes(Object.prototype.toString.call(image).slice("[object ".length, -1))) {
    throw new TypeError(
      "an image is an ImageData, an ImageBitmap, an element (img, canvas, video), an OffscreenCanvas, a VideoFrame, or " +
        "{ data, width, height } with a Uint8Array of RGB or RGBA pixels",
    );
  }
  if (image.complete === false || image.naturalWidth === 0) {
    throw new Error("the image has not loaded: wait for image.decode() first");
  }
  const width = image.naturalWidth ?? image.videoWidth ?? image.displayWidth ?? image.width;
  const height = image.naturalHeight ?? image.videoHeight ?? image.displayHeight ?? image.height;
  // A canvas of no pixels cannot be read; the module says what is wrong.
  if (width === 0 || height === 0) return { data: new Uint8Array(), width, height };
  const context = new OffscreenCanvas(width, height).getContext("2d", { colorSpace: "srgb", willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  try {
    return context.getImageData(0, 0, width, height);
  } catch (error) {
    if (error.name !== "SecurityError") throw error;
    throw new Error("the image is another site's, so its pixels cannot be read: load it with crossOrigin = 'anonymous'");
  }
}
