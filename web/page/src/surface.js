// The loss surface on a canvas, by WebGPU: shaders/surface.wgsl, which the bundle has beside the page, draws it, and this
// brings there what it needs.

const SAMPLES = 4;
// Places of the scene's numbers that are the canvas' own: aspect, ink and paper.
const ASPECT = 3, INK = 4, PAPER = 8;
const BALL = 6 * 2 * 10 * 10, TUBE = 6 * 10, FACET = 6, BOX = 24;

// One device and its pipelines for all canvases, until it is lost.
let gpu = null;

/** Whether the browser offers WebGPU at all. */
export function offered() {
  return Boolean(navigator.gpu);
}

async function open() {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("there is no graphics adapter for it");
  const shader = await fetch("surface.wgsl");
  if (!shader.ok) throw new Error("its shader could not be fetched");
  const code = await shader.text();
  const device = await adapter.requestDevice();
  device.lost.then(() => { gpu = null; });
  const module = device.createShaderModule({ code });
  const format = navigator.gpu.getPreferredCanvasFormat();
  const pipeline = (vertex, fragment, primitive, constants) => device.createRenderPipelineAsync({
    layout,
    vertex: { module, entryPoint: vertex, constants },
    fragment: { module, entryPoint: fragment, constants, targets: [{ format }] },
    primitive,
    depthStencil: { format: "depth24plus", depthWriteEnabled: true, depthCompare: "less" },
    multisample: { count: SAMPLES },
  });
  const { VERTEX, FRAGMENT } = GPUShaderStage;
  const group = device.createBindGroupLayout({
    entries: [
      { binding: 0, visibility: VERTEX | FRAGMENT, buffer: { type: "uniform" } },
      { binding: 1, visibility: VERTEX, buffer: { type: "read-only-storage" } },
      { binding: 2, visibility: VERTEX, buffer: { type: "read-only-storage" } },
    ],
  });
  const layout = device.createPipelineLayout({ bindGroupLayouts: [group] });
  // A rim is what sticks out behind: the far side of something a little larger.
  const way = (vertex, rim) =>
    pipeline(vertex, "paint_way", { topology: "triangle-list", cullMode: rim ? "front" : "back" }, { RIM: rim });
  const [frame, surface, tubeRim, tube, ballRim, ball] = await Promise.all([
    pipeline("frame", "paint_frame", { topology: "line-list" }),
    pipeline("surface", "paint_surface", { topology: "triangle-list" }),
    way("tube", true), way("tube", false), way("balls", true), way("balls", false),
  ]);
  return { device, format, group, frame, surface, tube: [tubeRim, tube], ball: [ballRim, ball] };
}

/** A surface on a canvas. `lost` is called once if the device is; the canvas stays as it is then. */
export async function relief(canvas, scene, heights, way, lost) {
  gpu ??= open().catch((error) => { gpu = null; throw error; });
  return new Relief(await gpu, canvas, scene, heights, way, lost);
}

class Relief {
  constructor(gpu, canvas, scene, heights, way, lost) {
    Object.assign(this, { gpu, canvas, scene, points: way.length / 2 });
    const { device, format } = gpu;
    this.context = canvas.getContext("webgpu");
    this.context.configure({ device, format, alphaMode: "opaque" });
    const { UNIFORM, STORAGE, COPY_DST } = GPUBufferUsage;
    this.buffers = [[scene, UNIFORM], [heights, STORAGE], [way.length ? way : new Float32Array(2), STORAGE]].map(([data, usage]) => {
      const buffer = device.createBuffer({ size: data.byteLength, usage: usage | COPY_DST });
      device.queue.writeBuffer(buffer, 0, data);
      return buffer;
    });
    const entries = this.buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    this.bindings = device.createBindGroup({ layout: gpu.group, entries });
    this.resized = new ResizeObserver(() => this.redraw());
    this.resized.observe(canvas);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.themed = () => this.redraw();
    this.dark.addEventListener("change", this.themed);
    device.lost.then(() => { if (!this.closed) lost(); });
  }

  /** Draws it from a yaw and a pitch, in radians, before the next picture. */
  turn(yaw, pitch) {
    this.scene.set([yaw, pitch]);
    this.redraw();
  }

  redraw() {
    this.pending ??= requestAnimationFrame(() => { this.pending = null; this.draw(); });
  }

  draw(scale = Math.min(devicePixelRatio, 2)) {
    if (this.closed) return;
    const { canvas, scene, gpu: { device, format } } = this;
    const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
    if (!width || !height) return;
    if (!this.targets || canvas.width !== width || canvas.height !== height) {
      Object.assign(canvas, { width, height });
      this.targets?.forEach((target) => target.destroy());
      this.targets = [format, "depth24plus"].map((format) => device.createTexture({
        size: [width, height], format, sampleCount: SAMPLES, usage: GPUTextureUsage.RENDER_ATTACHMENT,
      }));
    }
    const style = getComputedStyle(canvas);
    const [ink, paper] = [style.color, style.backgroundColor].map(colour);
    scene[ASPECT] = width / height;
    scene.set(ink, INK);
    scene.set(paper, PAPER);
    device.queue.writeBuffer(this.buffers[0], 0, scene);
    const commands = device.createCommandEncoder();
    const [colours, depths] = this.targets;
    const pass = commands.beginRenderPass({
      colorAttachments: [{
        view: colours.createView(),
        resolveTarget: this.context.getCurrentTexture().createView(),
        clearValue: [...paper, 1],
        loadOp: "clear",
        storeOp: "discard",
      }],
      depthStencilAttachment: { view: depths.createView(), depthClearValue: 1, depthLoadOp: "clear", depthStoreOp: "discard" },
    });
    pass.setBindGroup(0, this.bindings);
    const show = (pipeline, corners, instances = 1) => {
      pass.setPipeline(pipeline);
      pass.draw(corners, instances);
    };
    const [columns, rows] = scene.subarray(12, 14), facets = scene[18], stride = scene[21];
    show(this.gpu.frame, BOX);
    show(this.gpu.surface, FACET * (columns - 1) * (rows - 1) * facets * facets);
    for (const pipeline of this.points > 1 ? this.gpu.tube : []) show(pipeline, TUBE * (this.points - 1));
    for (const pipeline of this.points ? this.gpu.ball : []) show(pipeline, BALL, 1 + (this.points - 1) / stride);
    pass.end();
    device.queue.submit([commands.finish()]);
  }

  /** The picture as a PNG file, sharp on a projector too. */
  async png() {
    // What was drawn can be read in the same task only.
    this.draw(3);
    const blob = await new Promise((resolve) => this.canvas.toBlob(resolve));
    this.redraw();
    if (!blob) throw new Error("the browser gave no picture");
    return blob;
  }

  close() {
    this.closed = true;
    this.resized.disconnect();
    this.dark.removeEventListener("change", this.themed);
    for (const it of [...this.buffers, ...(this.targets ?? [])]) it.destroy();
    this.context.unconfigure();
  }
}

/** Red, green and blue from 0 to 1 of a computed colour, `rgb(…)`. */
function colour(css) {
  return css.match(/[\d.]+/g).slice(0, 3).map((channel) => channel / 255);
}
