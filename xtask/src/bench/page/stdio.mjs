// The benchmark protocol on standard input and output, as in `xtask/src/pytorch/jobs.py`: prints its name, reads a job
// as JSON, runs it once to warm up, and then answers each line, including the first, with a measurement of the job.

import { createInterface } from "node:readline";

/** `prepare(job)` resolves to a function that measures once: `{seconds, items, way?}`. */
export async function serve(name, prepare) {
  const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
  print({ is: name });
  let measure;
  for await (const line of createInterface({ input: process.stdin })) {
    if (!measure) {
      measure = await prepare(JSON.parse(line).page);
      await measure();
    }
    print(await measure());
  }
}
