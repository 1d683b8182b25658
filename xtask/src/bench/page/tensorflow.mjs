// TensorFlow.js in `cargo xtask bench --browser`: a step of `slimmable.js` on an empty page.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

import { open } from "./page.mjs";
import { serve } from "./stdio.mjs";

const packages = createRequire(`${process.env.SLIMCLR_TENSORFLOW}/`);
const SCRIPTS = ["@tensorflow/tfjs/dist/tf.min.js", "@tensorflow/tfjs-backend-webgpu/dist/tf-backend-webgpu.min.js"];
const STEP = fileURLToPath(new URL("slimmable.js", import.meta.url));
const { version } = packages("@tensorflow/tfjs/package.json");
/** Backends to try for each device. WebGL may be faster than WebGPU. The WASM backend cannot train convolutions. */
const BACKENDS = { cpu: ["cpu"], webgpu: ["webgpu", "webgl"] };

/** Opens an empty page and loads TensorFlow.js. */
async function openPage(device) {
  const page = await open(device, () => ({ contentType: "text/html", body: "<!doctype html>" }));
  for (const path of [...SCRIPTS.map(packages.resolve), STEP]) await page.addScriptTag({ path });
  return page;
}

/** Takes a step; returns its seconds. */
const step = (page) =>
  page.evaluate(async () => {
    const start = performance.now();
    await trainer.step();
    return (performance.now() - start) / 1000;
  });

/** Creates a trainer in the page; returns `false` if the browser lacks the backend. */
const build = (page, network, { backend, joint }) =>
  page.evaluate(
    async ([network, backend, joint]) => {
      if (!(await tf.setBackend(backend))) return false;
      globalThis.trainer = new Trainer(network, joint);
      return true;
    },
    [network, backend, joint],
  );

await serve(`TensorFlow.js ${version}`, async ({ device, ...network }) => {
  const joints = network.widths.length > 1 ? [true, false] : [true];
  const tried = [];
  for (const backend of BACKENDS[device]) {
    for (const joint of joints) {
      const [page, way] = [await openPage(device), { backend, joint }];
      if (await build(page, network, way)) {
        await step(page);
        tried.push({ page, way, seconds: await step(page) });
      } else {
        await page.context().browser().close();
      }
    }
  }
  const [{ page, way }, ...slower] = tried.sort((a, b) => a.seconds - b.seconds);
  await Promise.all(slower.map(({ page }) => page.context().browser().close()));
  return async () => ({ seconds: await step(page), items: network.batch, way });
});
