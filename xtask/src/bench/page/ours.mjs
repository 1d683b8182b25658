// Our side of `cargo xtask bench --browser`: the page itself, asked for single steps.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import * as images from "../../../../tests/browser/images.mjs";
import { TrainRoom, link } from "../../../../tests/browser/room.mjs";
import { answer } from "./answers.mjs";
import { open } from "./place.mjs";

/** Of a step, in milliseconds: that on a software renderer takes its time. */
const PATIENCE = 600_000;

/** Training that goes on until nobody asks any more, and does nothing but its steps. */
const ENDLESS = {
  // The first, since it sets what the others are at first.
  method: "mocov2",
  epochs: "1000000",
  evaluate_every: "1000000",
  checkpoint_every: "1000000",
  interference: "false",
  slow_start: "0",
  knn: "5",
};

/** The room for training with these options, and `batch` images. */
async function room({ device, batch, widths, ...network }) {
  const options = { ...ENDLESS, ...network, device, batch, widths: widths.join(",") };
  const file = (path) => ({ path: join(process.env.SLIMCLR_BUNDLE, path || "index.html") });
  const page = await open(device, file, (address) => link(address, options));
  const room = new TrainRoom(page);
  const folder = await mkdtemp(join(tmpdir(), "slimclr-bench-"));
  await room.take(await images.write(folder, batch, 10));
  await room.button("Step").click();
  await room.passes(0, PATIENCE);
  await rm(folder, { recursive: true });
  return room;
}

await answer("the page", async (job) => {
  const training = await room(job);
  return async () => {
    const before = await training.steps();
    await training.button("Step").click();
    await training.passes(before, PATIENCE);
    const { images_per_second } = (await training.events()).findLast(({ event }) => event === "step");
    return { seconds: job.batch / images_per_second, items: job.batch };
  };
});
