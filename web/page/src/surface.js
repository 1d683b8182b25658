// Draws the loss landscape on a canvas with WebGPU and shaders/surface.wgsl, which the bundle has next to the page.

const SAMPLES = 4;
// Offsets in the scene of what depends on the canvas: aspect ratio, ink and paper colour.
const ASPECT = 3, INK = 4, PAPER = 8;
// Vertices of a sphere, of a tube segment, of a facet and of the frame.
const SPHERE = 6 * 2 * 10 * 10, TUBE = 6 * 10, FACET = 6, FRAME = 24;

// One device and its pipelines for all canvases, until it is lost.
let gpu = null;

/** Whether the browser has WebGPU. */
export function isSupported() {
  return Boolean(navigator.gpu);
}

async function open() {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("no graphics adapter was found");
  const shader = await fetch("surface.wgsl");
  if (!shader.ok) throw new Error("the shader could not be loaded");
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
  // An outline is the back faces of a slightly larger copy.
  const path = (vertex, outline) =>
    pipeline(vertex, "paint_path", { topology: "triangle-list", cullMode: outline ? "front" : "back" }, { OUTLINE: outline });
  const [frame, surface, tubeOutline, tube, sphereOutline, sphere] = await Promise.all([
    pipeline("frame", "paint_frame", { topology: "line-list" }),
    pipeline("surface", "paint_surface", { topology: "triangle-list" }),
    path("tube", true), path("tube", false), path("spheres", true), path("spheres", false),
  ]);
  return { device, format, group, frame, surface, tube: [tubeOutline, tube], sphere: [sphereOutline, sphere] };
}

/** Draws a surface on a canvas. `onLost` is called once if the device is lost; the canvas then keeps its last frame. */
export async function render(canvas, scene, heights, path, onLost) {
  gpu ??= open().catch((error) => { gpu = null; throw error; });
  return new Renderer(await gpu, canvas, scene, heights, path, onLost);
}

class Renderer {
  constructor(gpu, canvas, scene, heights, path, onLost) {
    Object.assign(this, { gpu, canvas, scene, points: path.length / 2 });
    const { device, format } = gpu;
    this.context = canvas.getContext("webgpu");
    this.context.configure({ device, format, alphaMode: "opaque" });
    const { UNIFORM, STORAGE, COPY_DST } = GPUBufferUsage;
    // Empty buffers are invalid.
    const points = path.length ? path : new Float32Array(2);
    this.buffers = [[scene, UNIFORM], [heights, STORAGE], [points, STORAGE]].map(([data, usage]) => {
      const buffer = device.createBuffer({ size: data.byteLength, usage: usage | COPY_DST });
      device.queue.writeBuffer(buffer, 0, data);
      return buffer;
    });
    const entries = this.buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    this.bindings = device.createBindGroup({ layout: gpu.group, entries });
    this.resizeObserver = new ResizeObserver(() => this.redraw());
    this.resizeObserver.observe(canvas);
    this.darkMode = matchMedia("(prefers-color-scheme: dark)");
    this.onThemeChange = () => this.redraw();
    this.darkMode.addEventListener("change", this.onThemeChange);
    device.lost.then(() => { if (!this.closed) onLost(); });
  }

  /** Sets yaw and pitch of the view, in radians, and redraws at the next frame. */
  rotate(yaw, pitch) {
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
    const [ink, paper] = [style.color, style.backgroundColor].map(parseColour);
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
    const drawWith = (pipeline, vertices, instances = 1) => {
      pass.setPipeline(pipeline);
      pass.draw(vertices, instances);
    };
    const [columns, rows] = scene.subarray(12, 14), facets = scene[18], stride = scene[21];
    drawWith(this.gpu.frame, FRAME);
    drawWith(this.gpu.surface, FACET * (columns - 1) * (rows - 1) * facets * facets);
    for (const pipeline of this.points > 1 ? this.gpu.tube : []) drawWith(pipeline, TUBE * (this.points - 1));
    for (const pipeline of this.points ? this.gpu.sphere : []) drawWith(pipeline, SPHERE, 1 + (this.points - 1) / stride);
    pass.end();
    device.queue.submit([commands.finish()]);
  }

  /** Returns the figure as a PNG file, at three times the canvas's resolution. */
  async png() {
    // The canvas can only be read in the same task as it was drawn.
    this.draw(3);
    const blob = await new Promise((resolve) => this.canvas.toBlob(resolve));
    this.redraw();
    if (!blob) throw new Error("the browser returned no image");
    return blob;
  }

  close() {
    this.closed = true;
    this.resizeObserver.disconnect();
    this.darkMode.removeEventListener("change", this.onThemeChange);
    for (const resource of [...this.buffers, ...(this.targets ?? [])]) resource.destroy();
    this.context.unconfigure();
  }
}

/** Parses a computed colour, `rgb(…)`, into red, green and blue from 0 to 1. */
function parseColour(css) {
  return css.match(/[\d.]+/g).slice(0, 3).map((channel) => channel / 255);
}
