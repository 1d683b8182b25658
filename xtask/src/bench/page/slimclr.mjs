// SlimCLR in `cargo xtask bench --browser`: the page itself, driven step by step.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import * as images from "../../../../tests/browser/images.mjs";
import { TrainPage, link } from "../../../../tests/browser/train-page.mjs";
import { open } from "./page.mjs";
import { serve } from "./stdio.mjs";

/** Milliseconds to wait for a step, which is slow on a software renderer. */
const TIMEOUT = 600_000;

/** A run without end that does nothing besides its steps. */
const STEPS_ONLY = {
  // Comes first, because it sets the defaults of the others.
  method: "mocov2",
  epochs: "1000000",
  evaluate_every: "1000000",
  checkpoint_every: "1000000",
  interference: "false",
  slow_start: "0",
  knn: "5",
};

/** Opens the page with these options and `batch` images, and takes the first step. */
async function openTrainPage({ device, batch, widths, ...network }) {
  const options = { ...STEPS_ONLY, ...network, device, batch, widths: widths.join(",") };
  const file = (path) => ({ path: join(process.env.SLIMCLR_BUNDLE, path || "index.html") });
  const train = new TrainPage(await open(device, file, (address) => link(address, options)));
  const folder = await mkdtemp(join(tmpdir(), "slimclr-bench-"));
  await train.chooseFiles(await images.write(folder, batch, 10));
  await train.button("Step").click();
  await train.waitForStepAfter(0, TIMEOUT);
  await rm(folder, { recursive: true });
  return train;
}

await serve("the page", async (job) => {
  const train = await openTrainPage(job);
  return async () => {
    const before = await train.steps();
    await train.button("Step").click();
    await train.waitForStepAfter(before, TIMEOUT);
    const { images_per_second } = (await train.events()).findLast(({ event }) => event === "step");
    return { seconds: job.batch / images_per_second, items: job.batch };
  };
});
