// The entry for browsers and bundlers: a module fetches the WebAssembly beside it.
import { loader } from "./network.js";

export const load = loader((module) => module.default());
