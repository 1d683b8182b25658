// A program that is asked by lines on standard input, as `xtask/src/pytorch/jobs.py` is: it says what it is, reads a job in JSON,
// does it once so that nothing is measured cold, and then answers each line, the first one included, by how long the job
// took this time.

import { createInterface } from "node:readline";

/** `prepare(job)` resolves to what measures once: `{seconds, items, way?}`. */
export async function answer(is, prepare) {
  const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
  say({ is });
  let measure;
  for await (const line of createInterface({ input: process.stdin })) {
    if (!measure) {
      measure = await prepare(JSON.parse(line).page);
      await measure();
    }
    say(await measure());
  }
}
